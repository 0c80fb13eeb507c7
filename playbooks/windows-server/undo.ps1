# Takes away from the server what the steps of manifest.json have set, last step first, and puts back what was there before
# this stack changed it. What somebody has changed since stays. Roles stay too, unless -RemoveRoles is given.
#
# A person runs this by hand, as Administrator, in the folder of the stack. It says the same lines as run.ps1, with "kept": the
# names of what stays because it is somebody else's by now. Last comes the marker:
# cgw-undone changed=<n> reboot=<true|false> failed=<n>. Exit code 0 only if nothing failed; running it again goes on.
param([switch] $RemoveRoles)
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
. (Join-Path $PSScriptRoot 'common.ps1')

try {
    $source = Join-Path $PSScriptRoot 'settings.json'
    if (-not (Test-Path -LiteralPath $source)) { throw 'nothing is set up from this folder' }
    $parameters = Read-Json $source
    $parameters | Add-Member -MemberType NoteProperty -Name removeRoles -Value ([bool] $RemoveRoles)
    $steps = @(Read-Json (Join-Path $PSScriptRoot 'manifest.json'))
    [array]::Reverse($steps)
    $changed = 0
    $failed = 0
    $reboot = $false
    foreach ($step in $steps) {
        if ($parameters.device -notin $step.on) { continue }
        $line = [ordered]@{ id = $step.id; was = $null; now = $null; changed = $false; reboot = $false; error = $null; kept = @() }
        # One that fails keeps no other from being undone.
        try {
            $outcome = Invoke-Step $step $parameters -Undo
            foreach ($name in 'was', 'now', 'changed', 'reboot', 'kept') { $line[$name] = $outcome.$name }
            if ($outcome.changed) { $changed++ }
            if ($outcome.reboot) { $reboot = $true }
        } catch {
            $line['error'] = $_.Exception.Message
            $failed++
        }
        Write-Line (ConvertTo-Line $line $parameters)
    }
    if ($failed -eq 0) {
        foreach ($name in 'rules.json', 'saved.json', 'settings.json') { [IO.File]::Delete((Join-Path $PSScriptRoot $name)) }
    }
    Write-Line "cgw-undone changed=$changed reboot=$("$reboot".ToLower()) failed=$failed"
    if ($failed -gt 0) { exit 1 }
    exit 0
} catch {
    [Console]::Error.WriteLine("cgw: $($_.Exception.Message)")
    exit 1
}
