# Runs the steps of manifest.json in order, on the server, and says on standard output what each did.
#
# One JSON line a step: {"id", "was", "now", "changed", "reboot", "error"}, and "skipped": true for one that was not run:
# with an error if an earlier one failed or a restart must come first, without if it does not concern this device.
# Then the marker: cgw-done <digest> changed=<n> reboot=<true|false> failed=<n>. Exit code 0 only if nothing failed.
#
# INVARIANT: no pre-shared key leaves this process, and parameters.json is gone as soon as it has been read.
#
# The bootstrap gives the digest of the bundle. A person who runs this by hand, as Administrator, needs no argument.
param([string] $Digest = 'by-hand')
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
. (Join-Path $PSScriptRoot 'common.ps1')

# pending.json: in which boot a restart became necessary, so that it stays so until it has happened.
function Get-BootSecond {
    $boot = (Get-CimInstance -ClassName Win32_OperatingSystem).LastBootUpTime.ToUniversalTime()
    [long] ($boot - [datetime] '1970-01-01').TotalSeconds
}

function Test-RestartPending([string] $Path, [long] $Boot) {
    if (-not (Test-Path -LiteralPath $Path)) { return $false }
    # The boot time is worked out from the clock, so it moves a little when the clock is set.
    if ([Math]::Abs((Read-Json $Path).boot - $Boot) -lt 120) { return $true }
    Remove-Item -LiteralPath $Path
    $false
}

$parameters = $null
try {
    $source = Join-Path $PSScriptRoot 'parameters.json'
    $parameters = Read-Json $source
    Remove-Item -LiteralPath $source -Force
    $manifest = Read-Json (Join-Path $PSScriptRoot 'manifest.json')
    $problems = @(Get-ParameterProblem $parameters)
    if ($problems.Count -gt 0) { throw "parameters.json: $($problems -join '; ')" }
    $known = @()
    foreach ($step in $manifest) {
        foreach ($need in $step.needs) {
            if ($need -notin $known) { throw "manifest.json: $($step.id) needs $need, which does not come before it" }
        }
        $known += $step.id
    }

    # What undo.ps1 has to know later: all but the keys.
    $settings = ConvertFrom-Json -InputObject (ConvertTo-Json -InputObject $parameters -Depth 6)
    foreach ($tunnel in $settings.tunnels) { $tunnel.PSObject.Properties.Remove('presharedKey') }
    Write-Json (Join-Path $PSScriptRoot 'settings.json') $settings

    $pendingPath = Join-Path $PSScriptRoot 'pending.json'
    $boot = Get-BootSecond
    $pending = Test-RestartPending $pendingPath $boot
    $journal = [ordered]@{ digest = $Digest; started = [datetime]::UtcNow.ToString('s') + 'Z'; done = $false; steps = @() }
    $changed = 0
    $failed = 0
    $because = $null
    foreach ($step in $manifest) {
        $line = [ordered]@{ id = $step.id; was = $null; now = $null; changed = $false; reboot = $false; error = $null }
        if ($parameters.device -notin $step.on) {
            $line['skipped'] = $true
        } elseif ($because) {
            $line['skipped'] = $true
            $line['error'] = $because
        } else {
            # A step that is cut off may have changed what needs a restart, so this is written before it starts.
            if ($step.reboot -and -not $pending) { Write-Json $pendingPath @{ boot = $boot } }
            try {
                $outcome = Invoke-Step $step $parameters
                $line['was'] = $outcome.was
                $line['now'] = $outcome.now
                $line['changed'] = [bool] $outcome.changed
                $line['reboot'] = [bool] $outcome.reboot
                if ($line.changed) { $changed++ }
                if ($outcome.restartFirst) { $because = 'not run: a restart must come first' }
                if ($line.reboot -and -not $pending) { Write-Json $pendingPath @{ boot = $boot }; $pending = $true }
                if ($step.reboot -and -not $pending) { Remove-Item -LiteralPath $pendingPath }
            } catch {
                $line['error'] = Protect-Text $_.Exception.Message $parameters
                $failed++
                $because = "not run: $($step.id) failed"
            }
        }
        $text = ConvertTo-Line $line $parameters
        $journal['steps'] += ConvertFrom-Json -InputObject $text
        Write-Json (Join-Path $PSScriptRoot 'journal.json') $journal
        Write-Line $text
    }

    $journal['done'] = $true
    $journal['changed'] = $changed
    $journal['failed'] = $failed
    $journal['reboot'] = $pending
    Write-Json (Join-Path $PSScriptRoot 'journal.json') $journal
    Write-Line "cgw-done $Digest changed=$changed reboot=$("$pending".ToLower()) failed=$failed"

    # The marker and the exit code reach the client first: the restart comes 15 seconds later.
    if ($pending -and $failed -eq 0 -and $parameters.reboot -eq 'now') {
        & shutdown.exe /r /t 15 /d p:2:4 /c 'cgw: settings of the VPN gateway need a restart' | Out-Null
        # 1115 and 1190: a restart is under way, or already ordered.
        if ($LASTEXITCODE -notin 0, 1115, 1190) { throw "shutdown.exe gave exit code $LASTEXITCODE" }
    }
    if ($failed -gt 0) { exit 1 }
    exit 0
} catch {
    [Console]::Error.WriteLine((Protect-Text "cgw: $($_.Exception.Message)" $parameters))
    exit 1
}
