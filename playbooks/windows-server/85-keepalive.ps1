# Keeps a tunnel up: a scheduled task pings a host in the VPC every five seconds, from every start on.
#
# Beyond the guide: AWS takes an idle tunnel down, and only traffic from the customer's side brings it up again (AWS,
# "Troubleshooting an AWS Site-to-Site VPN customer gateway device"). Without a host to ping there is no task.
param($Parameters, [switch] $Undo)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')
. (Join-Path $PSScriptRoot 'tasks.ps1')

$task = "cgw keepalive $($Parameters.stack)"

# What it pings and from where, if it does; 'absent' if there is none.
function Get-Target {
    $found = Get-ScheduledTask -TaskName $task -ErrorAction SilentlyContinue
    if (-not $found) { return 'absent' }
    $arguments = if ("$(@($found.Actions)[0].Arguments)" -match '-From ([\d.]+) -Ping ([\d.]+)$') { "$($Matches[2]) from $($Matches[1])" } else { 'something else' }
    if ("$($found.State)" -in 'Running', '4') { $arguments } else { "$arguments, but it does not run" }
}

$wanted = if ($Parameters.ping -and -not $Undo) { "$($Parameters.ping) from $($Parameters.privateIp)" } else { 'absent' }
$is = Get-Target
$was = [ordered]@{ ping = $is }
if ($is -eq $wanted) { return New-Outcome $was $was $false $false }
if ($is -ne 'absent') {
    Stop-ScheduledTask -TaskName $task
    Remove-Task $task
}
if ($wanted -ne 'absent') {
    Register-Script $task 'keepalive.ps1' "-From $($Parameters.privateIp) -Ping $($Parameters.ping)" (New-ScheduledTaskTrigger -AtStartup) -Endless
    Start-ScheduledTask -TaskName $task
    for ($try = 0; (Get-Target) -ne $wanted -and $try -lt 10; $try++) { Start-Sleep -Seconds 1 }
}
$now = [ordered]@{ ping = Get-Target }
if ($now.ping -ne $wanted) { throw "set, but it reads back otherwise: $($now.ping)" }
New-Outcome $was $now $true $false
