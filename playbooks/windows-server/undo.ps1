# Takes away from the server what the steps of manifest.json have set, last step first, and puts back what was there before
# this stack changed it. What somebody has changed since stays, and so does what another stack on the server needs: the last one
# puts it back. Roles stay too, unless -RemoveRoles is given.
#
# follow.ps1 starts this as a task; a person runs it as Administrator, in the folder of the stack, without -Digest. It says the
# same lines as run.ps1, with "kept": the names of what stays because it is somebody else's by now. Exit code 0 only if nothing
# failed, 3 when another run is under way; running it again goes on.
param([string] $Digest = 'by-hand', [switch] $RemoveRoles)
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
. (Join-Path $PSScriptRoot 'common.ps1')
. (Join-Path $PSScriptRoot 'tasks.ps1')

$lock = $null
try {
    $lock = Enter-Run
    Start-Journal $Digest
    $BeforeChange = $null
    [IO.File]::Delete((Get-KeyPath))
    $source = Join-Path $PSScriptRoot 'parameters.json'
    $steps = @()
    # Where nothing was begun there is nothing to undo.
    if (Test-Path -LiteralPath $source) {
        $parameters = Read-Json $source
        $parameters | Add-Member -MemberType NoteProperty -Name removeRoles -Value ([bool] $RemoveRoles)
        # Windows PowerShell hands an array of JSON over as one object: first a variable, then its members.
        $manifest = Read-Json (Join-Path $PSScriptRoot 'manifest.json')
        $steps = @($manifest)
        [array]::Reverse($steps)
    }
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
        Write-Journal (ConvertTo-Line $line)
    }
    if ($failed -eq 0 -and $steps) {
        [void] (Exit-Guard $parameters.stack)
        Remove-Task (Get-FailoverTask $parameters.stack)
        Clear-Kept
        foreach ($name in 'used.json', 'rules.json', 'saved.json', 'set.json', 'parameters.json', 'restored.json') { [IO.File]::Delete((Join-Path $PSScriptRoot $name)) }
    }
    Complete-Journal $Digest $changed $reboot $failed
    if ($failed -gt 0) { exit 1 }
    exit 0
} catch {
    $text = $_.Exception.Message
    Write-Failure $Digest $lock $text
    exit (Get-FailureCode $text)
} finally {
    if ($lock) { $lock.Dispose() }
}
