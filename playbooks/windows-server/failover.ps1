# Switches the rule of a tunnel off, measures until a ping is back through the other one, and switches it on again. One line:
# cgw-failover {"from", "to", "seconds", "received"}; "to" and "seconds" are null when no ping came back.
#
# -From    the tunnel to switch off, by its outside address; without it the one that carries traffic
# -Keep    it stays off, if a ping is back: while a tunnel's key or suites are changed, the other one carries the traffic
# -Enable  only switches on what is off
#
# Guide, step 4: the second tunnel comes up when the first goes down. Nothing is switched off while the other rule is off. A
# scheduled task switches the rule on again after five minutes, with -Keep an hour after a ping was back, and at every start:
# should this be cut off, no rule stays off. Exit code 3 when another run is under way.
param([string] $Ping, [string] $From, [switch] $Keep, [int] $Wait = 60, [switch] $Enable)
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
. (Join-Path $PSScriptRoot 'common.ps1')
. (Join-Path $PSScriptRoot 'tasks.ps1')
. (Join-Path $PSScriptRoot 'ping.ps1')

# A rule that was just being written is not remembered yet, and one of a connection that is gone not declared any more.
function Enable-Rules {
    foreach ($name in @(@($parameters.tunnels | ForEach-Object { $_.name }) + @(Get-RuleName) | Select-Object -Unique)) {
        if (@(Get-Rule $name 'PersistentStore').Count -gt 0) { Enable-NetIPsecRule -DisplayName $name -PolicyStore PersistentStore }
    }
    Remove-Task $task
}

function Register-Restore([int] $Minutes) {
    Register-Script $task 'failover.ps1' '-Enable' @((New-ScheduledTaskTrigger -Once -At ((Get-Date).AddMinutes($Minutes))), (New-StartTrigger 'PT1M'))
}

# The tunnel whose rule has negotiated; the first one that is met is the one that traffic takes.
function Get-Carrier { @(Get-Association | Where-Object { $_.kind -eq 'quick' } | ForEach-Object { $_.peer } | Select-Object -Unique) }

$lock = $null
$off = $false
try {
    $settings = Join-Path $PSScriptRoot 'parameters.json'
    if (-not (Test-Path -LiteralPath $settings)) { throw 'nothing is set up from this folder' }
    $parameters = Read-Json $settings
    $task = Get-FailoverTask $parameters.stack
    if ($Enable) {
        # One that has lost its session may be about to switch a rule off: its end is waited for, four minutes at most.
        for ($try = 0; -not $lock -and $try -lt 240; $try++) { try { $lock = Enter-Run } catch { if ($_.Exception.Message -match 'not confirmed') { break } else { Start-Sleep -Seconds 1 } } }
        Enable-Rules
        # The guard of another stack would put the rule back as it was then: this looks again.
        if (-not $lock) { Register-Restore 5 }
        exit 0
    }
    if (-not (Test-Inside $Ping $parameters.cloudCidr)) { throw "$Ping is not in the VPC's network" }
    $lock = Enter-Run
    # Who runs this has come over a new connection; the guard of a run that was cut off would put the rule back.
    [void] (Exit-Guard $parameters.stack)
    if (-not (Wait-Reply $Ping $Wait)) { throw "$Ping does not answer: there is nothing to fail over" }
    $carrier = @(Get-Carrier)[0]
    if (-not $carrier) { throw "$Ping answers, but not through a tunnel" }
    if (-not $From) { $From = $carrier }
    $rule = @($parameters.tunnels | Where-Object { $_.outsideIp -eq $From })[0].name
    if (-not $rule) { throw "there is no tunnel to $From" }
    foreach ($other in @($parameters.tunnels | Where-Object { $_.outsideIp -ne $From })) {
        $isOn = @(Get-Rule $other.name 'PersistentStore' | Where-Object { Test-Enabled $_ }).Count -gt 0
        if (-not $isOn) { throw "the rule of the other tunnel, $($other.name), is not on: both would be off" }
    }
    Register-Restore 5
    $off = $true
    Disable-NetIPsecRule -DisplayName $rule -PolicyStore PersistentStore
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $back = Wait-Reply $Ping $Wait
    $watch.Stop()
    $to = @(Get-Carrier | Where-Object { $_ -ne $From })[0]
    $line = [ordered]@{ from = $From; to = $null; seconds = $null; received = [bool] $back }
    if ($back) { $line.to = $to; $line.seconds = [Math]::Round($watch.Elapsed.TotalSeconds, 1) }
    if ($Keep -and $to -and $back) { Register-Restore 60 } else { Enable-Rules }
    $off = $false
    Write-Line "cgw-failover $(ConvertTo-Line $line)"
    exit 0
} catch {
    [Console]::Error.WriteLine("cgw: $($_.Exception.Message)")
    exit (Get-FailureCode $_.Exception.Message)
} finally {
    if ($off) { Enable-Rules }
    if ($lock) { $lock.Dispose() }
}
