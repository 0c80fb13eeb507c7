# Prints the journal of a run as it grows, up to its last line. With -Start it begins that run first, as a scheduled task:
# it goes on when this session is lost, and who comes again follows it from the beginning.
#
# Exit code 0 if the run ended and nothing failed in it, 3 if another one is under way, of whichever stack, 1 otherwise. After an
# undo that succeeded the folder goes too.
param([ValidatePattern('^[A-Za-z0-9-]+\z')] [string] $Digest, [ValidateSet('run.ps1', 'undo.ps1')] [string] $Start, [switch] $RemoveRoles)
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
. (Join-Path $PSScriptRoot 'common.ps1')
. (Join-Path $PSScriptRoot 'tasks.ps1')

$stack = Split-Path -Path $PSScriptRoot -Leaf
$task = Get-RunTask $stack

function Test-Running { "$((Get-ScheduledTask -TaskName $task -ErrorAction SilentlyContinue).State)" -in 'Running', 'Queued', '4', '2' }

# A task that has ended lies there for nobody.
function Remove-Run {
    for ($wait = 0; (Test-Running) -and $wait -lt 20; $wait++) { Start-Sleep -Milliseconds 300 }
    Remove-Task $task
}

try {
    if ($Start) {
        if (Test-Running) {
            [IO.File]::Delete((Get-KeyPath))
            throw $busy
        }
        (Enter-Run).Dispose()
        [IO.File]::Delete((Get-JournalPath))
        # Who starts a run has come over a new connection.
        [void] (Exit-Guard $stack)
        Register-Script $task $Start "-Digest $Digest$(if ($RemoveRoles) { ' -RemoveRoles' })"
        Start-ScheduledTask -TaskName $task
    }
    $seen = 0
    $end = $null
    # A task that has been started takes a moment to run, and one that has ended may have written since this looked.
    for ($idle = 0; -not $end -and $idle -lt 20; $idle++) {
        if ($seen -gt 0 -or $idle -gt 0) { Start-Sleep -Milliseconds 300 }
        if (Test-Running) { $idle = 0 }
        $lines = @(Read-Journal $Digest)
        for (; $seen -lt $lines.Count; $seen++) {
            if ($lines[$seen] -match '^cgw-failed (.*)$') {
                $why = $Matches[1]
                Remove-Run
                throw $why
            }
            Write-Line $lines[$seen]
            if ($lines[$seen].StartsWith('cgw-done ')) { $end = $lines[$seen] }
        }
    }
    if (-not $end) { throw 'the run on the server has ended without its last line' }
    Remove-Run
    if ($end -notmatch ' failed=0 ') { exit 1 }
    if ($Start -eq 'undo.ps1') { Remove-Item -LiteralPath $PSScriptRoot -Recurse -Force }
    exit 0
} catch {
    # What a run has not read will not be read.
    if ($Start -and -not (Test-Running)) { [IO.File]::Delete((Get-KeyPath)) }
    [Console]::Error.WriteLine("cgw: $($_.Exception.Message)")
    exit (Get-FailureCode $_.Exception.Message)
}
