# Puts the policy of Windows Firewall back, with its rules for IPsec: nobody has come over a new connection to say that the
# server can still be reached. A scheduled task runs this; Enter-Guard arms it, confirm.ps1 disarms it.
#
# Where there is no policy to put back (it was confirmed, and then the restart shut everybody out), or where netsh refuses it,
# all that the steps have set is taken back.
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')
. (Join-Path $PSScriptRoot 'tasks.ps1')

$stack = (Read-Json (Join-Path $PSScriptRoot 'settings.json')).stack
# A run that goes on would set again what is put back here.
$run = Get-RunTask $stack
if (Get-ScheduledTask -TaskName $run -ErrorAction SilentlyContinue) { Stop-ScheduledTask -TaskName $run }
$how = 'policy'
try {
    if (-not (Test-Path -LiteralPath (Get-GuardPolicy))) { throw 'there is no policy to put back' }
    Invoke-Netsh @('advfirewall', 'import', (Get-GuardPolicy)) $null
} catch {
    $how = 'undo'
    # A run that has just been stopped may hold the lock for a moment.
    for ($try = 0; $try -lt 10; $try++) {
        & (Join-Path $PSScriptRoot 'undo.ps1')
        if ($LASTEXITCODE -ne 3) { break }
        Start-Sleep -Seconds 1
    }
}
Write-Json (Join-Path $PSScriptRoot 'restored.json') @{ how = $how; at = [datetime]::UtcNow.ToString('s') + 'Z' }
Exit-Guard $stack
