# Runs the steps of manifest.json in order, on the server, and says on standard output and in journal.jsonl what each did.
#
# One JSON line a step: {"id", "was", "now", "changed", "reboot", "error"}, and "skipped": true for one that was not run:
# with an error if an earlier one failed or a restart must come first, without if it does not concern this device.
# Then the last line: cgw-done <digest> changed=<n> reboot=<true|false> failed=<n> guard=<armed|none> boot=<seconds>.
# What comes before the steps and fails is told as cgw-failed <text>. Exit code 0 only if nothing failed; 3 when another run
# is under way. It never restarts the server: confirm.ps1 does, over a connection that proves that there still is one.
#
# INVARIANT: no pre-shared key leaves this process, and keys.txt is gone as soon as it has been read. A key is never piped, and
# never an argument of a cmdlet: a server can be set to log both (Module Logging, event 4103).
#
# follow.ps1 starts this as a task and gives the digest of the bundle. A person who runs it by hand, as Administrator, needs
# no argument, and then confirms with confirm.ps1 from a new session; the scripts are in C:\ProgramData\cgw\STACK from then on.
param([string] $Digest = 'by-hand')
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
. (Join-Path $PSScriptRoot 'common.ps1')
. (Join-Path $PSScriptRoot 'tasks.ps1')

$presharedKeys = @{}
$lock = $null
$source = Join-Path $PSScriptRoot 'parameters.json'

# What a person has copied somewhere goes to where only SYSTEM and Administrators can write: tasks of SYSTEM will run it.
function Move-Scripts([string] $Stack) {
    $folder = Join-Path (Get-RootFolder) $Stack
    if ($PSScriptRoot -eq $folder) { return }
    New-PrivateFolder (Split-Path -Path $folder -Parent)
    New-PrivateFolder $folder
    $held = Enter-Run $Stack
    try {
        $files = @(Get-ChildItem -LiteralPath $PSScriptRoot -File | Where-Object { $_.Extension -in '.ps1', '.json' -or $_.Name -eq 'keys.txt' })
        foreach ($file in $files) { Copy-Item -LiteralPath $file.FullName -Destination $folder -Force }
        [IO.File]::Delete((Get-KeyPath))
    } finally {
        $held.Dispose()
    }
    Join-Path $folder 'run.ps1'
}

try {
    if ($Digest -eq 'by-hand') {
        $given = Read-Json $source
        $problems = @(Get-ParameterProblem $given)
        if ($problems.Count -gt 0) { throw "parameters.json: $($problems -join '; ')" }
        $elsewhere = Move-Scripts $given.stack
        if ($elsewhere) { & $elsewhere; exit $LASTEXITCODE }
    }
    $lock = Enter-Run
    Start-Journal $Digest
    $presharedKeys = Read-Key
    $parameters = Read-Json $source
    $manifest = Read-Json (Join-Path $PSScriptRoot 'manifest.json')
    $problems = @(Get-ParameterProblem $parameters | ForEach-Object { "parameters.json: $_" }) + @(Get-KeyProblem $parameters | ForEach-Object { "keys.txt: $_" })
    if ($problems.Count -gt 0) { throw ($problems -join '; ') }
    $known = @()
    foreach ($step in $manifest) {
        foreach ($need in $step.needs) {
            if ($need -notin $known) { throw "manifest.json: $($step.id) needs $need, which does not come before it" }
        }
        $known += $step.id
    }
    [IO.File]::Delete((Join-Path $PSScriptRoot 'restored.json'))

    $pending = Test-RestartPending
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
            if ($step.reboot -and -not $pending) { Write-Kept (Get-PendingPath) @{ boot = Get-BootSecond } }
            # Complete-Step and the tunnels call it before they change anything.
            $BeforeChange = if ($step.guard) { { Enter-Guard $parameters.stack } } else { $null }
            try {
                $outcome = Invoke-Step $step $parameters
                $line['was'] = $outcome.was
                $line['now'] = $outcome.now
                $line['changed'] = [bool] $outcome.changed
                $line['reboot'] = [bool] $outcome.reboot
                if ($line.changed) { $changed++ }
                if ($outcome.restartFirst) { $because = 'not run: a restart must come first' }
                if ($line.reboot) { $pending = $true }
                if ($step.reboot -and -not $pending) { Remove-Item -LiteralPath (Get-PendingPath) }
            } catch {
                $line['error'] = Protect-Text $_.Exception.Message
                $failed++
                $because = "not run: $($step.id) failed"
            }
        }
        Write-Journal (ConvertTo-Line $line)
    }
    Complete-Journal $Digest $changed $pending $failed
    if ($Digest -eq 'by-hand' -and (Get-GuardState) -eq 'armed') {
        Write-Line "In 5 minutes the firewall is put back as it was, unless you run $(Join-Path $PSScriptRoot 'confirm.ps1') from a new session before."
    }
    if ($failed -gt 0) { exit 1 }
    exit 0
} catch {
    $text = Protect-Text $_.Exception.Message
    Write-Failure $Digest $lock $text
    exit (Get-FailureCode $text)
} finally {
    if ($lock) { $lock.Dispose() }
}
