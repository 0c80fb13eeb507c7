# Puts the policy of Windows Firewall back, with its rules for IPsec: nobody has come over a new connection to say that the
# server can still be reached. A scheduled task runs this; Enter-Guard and confirm.ps1 -Restart arm it, confirm.ps1 disarms it.
#
# Where there is no policy to put back (it was confirmed, and then the restart shut everybody out), or where netsh refuses it,
# all that the steps have set is taken back. If that fails too, it tries again in two minutes, and at every start.
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')
. (Join-Path $PSScriptRoot 'tasks.ps1')

$stack = Split-Path -Path $PSScriptRoot -Leaf
$firing = Get-FiringFolder
# Who confirms at the same moment moves the same folder away: one of both has it.
if (-not (Test-Path -LiteralPath $firing)) {
    try { Move-Item -LiteralPath (Get-GuardFolder) -Destination $firing } catch { exit 0 }
}
# A run that goes on would set again what is put back here; mostly there is none.
try { Stop-ScheduledTask -TaskName (Get-RunTask $stack) } catch { $null }
$how = $null
try {
    $policy = Join-Path $firing 'policy.wfw'
    if (-not (Test-Path -LiteralPath $policy)) { throw 'there is no policy to put back' }
    # The rules come back as they were then: the next run is to know their names, and to take none for what it has written.
    try {
        $memory = Read-RuleMemory
        foreach ($name in @($memory.rules.Keys) + @((Read-RuleMemory $firing).rules.Keys)) { $memory.rules[$name] = '' }
        Write-RuleMemory $memory
    } catch {
        [IO.File]::Delete((Join-Path $PSScriptRoot 'rules.json'))
    }
    Invoke-Netsh @('advfirewall', 'import', $policy)
    $how = 'policy'
} catch {
    # A run that has just been stopped may hold the lock for a moment.
    for ($try = 0; $try -lt 10; $try++) {
        & (Join-Path $PSScriptRoot 'undo.ps1')
        if ($LASTEXITCODE -ne 3) { break }
        Start-Sleep -Seconds 1
    }
    if ($LASTEXITCODE -eq 0) { $how = 'undo' }
}
if (-not $how) {
    Register-Guard $stack @((New-ScheduledTaskTrigger -Once -At ((Get-Date).AddMinutes(2))), (New-StartTrigger 'PT2M'))
    exit 1
}
Write-Json (Join-Path $PSScriptRoot 'restored.json') @{ how = $how; at = [datetime]::UtcNow.ToString('s') + 'Z' }
Remove-Item -LiteralPath $firing -Recurse -Force
Remove-Task (Get-GuardTask $stack)
exit 0
