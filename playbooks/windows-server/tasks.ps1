# What goes on when nobody is connected: the lock, the journal, the scheduled tasks and the guard. common.ps1 comes first.

# How every script begins that says so; bootstrap.ps1 has the same words.
$busy = 'another run is under way'

# One run at a time on a server, whatever its stack: the settings of IPsec are the machine's. The lock ends with the process.
# The run of another stack is under way until it is confirmed, too: its guard would put back the whole policy as it was, without
# what is done here meanwhile. That has an end: either somebody confirms, or the time of the guard comes.
function Enter-Run([string] $Stack = (Split-Path -Path $PSScriptRoot -Leaf)) {
    $root = Get-RootFolder
    New-PrivateFolder $root
    try { $held = [IO.File]::Open((Join-Path $root 'lock'), 'OpenOrCreate', 'ReadWrite', 'None') } catch { throw $busy }
    $guarded = @(Get-GuardedStack $Stack)
    if ($guarded.Count -eq 0) { return $held }
    $held.Dispose()
    throw "$busy`: that of $($guarded -join ', ') is not confirmed yet"
}

# The other stacks whose guard has a policy to put back, or just does so. One without a policy undoes the steps instead, which
# takes its turn here. Where one was cut off while it was armed there is a policy, but no task, and nothing has been changed.
#
# INVARIANT: two guards never wait for one another: as only who has entered exports a policy, only one of them has one.
function Get-GuardedStack([string] $Stack) {
    foreach ($folder in @(Get-OtherStackFolder $Stack)) {
        $policies = @('guard/policy.wfw', 'guard-firing/policy.wfw' | Where-Object { Test-Path -LiteralPath (Join-Path $folder.FullName $_) })
        if ($policies.Count -gt 0 -and (Get-ScheduledTask -TaskName (Get-GuardTask $folder.Name) -ErrorAction SilentlyContinue)) { $folder.Name }
    }
}

# The exit code of a script that has failed: 3 says that it could not enter.
function Get-FailureCode([string] $Why) { if ($Why.StartsWith($busy)) { 3 } else { 1 } }

# When the machine started, in seconds since 1970. It is worked out from the clock, so it moves a little when that is set.
function Get-BootSecond {
    $boot = (Get-CimInstance -ClassName Win32_OperatingSystem).LastBootUpTime.ToUniversalTime()
    [long] ($boot - [datetime] '1970-01-01').TotalSeconds
}

function Test-SameBoot([long] $One, [long] $Other) { [Math]::Abs($One - $Other) -lt 120 }

# pending.json: in which boot a restart of the server became necessary, for whichever stack, so that it stays so until it has
# happened.
function Get-PendingPath { Join-Path (Get-ServerFolder) 'pending.json' }

function Test-RestartPending {
    $path = Get-PendingPath
    if (-not (Test-Path -LiteralPath $path)) { return $false }
    if (Test-SameBoot (Read-Json $path).boot (Get-BootSecond)) { return $true }
    Remove-Item -LiteralPath $path
    $false
}

# journal.jsonl: the lines of the last run, which whoever is connected reads as they come.
function Get-JournalPath { Join-Path $PSScriptRoot 'journal.jsonl' }

function Start-Journal([string] $Digest) {
    [IO.File]::WriteAllText((Get-JournalPath), "cgw-run $Digest`r`n")
}

function Write-Journal([string] $Text) {
    [IO.File]::AppendAllText((Get-JournalPath), "$Text`r`n")
    Write-Line $Text
}

# Says why a run came to nothing: at once, and to whoever follows it in its journal. One that was begun as a task and could not enter
# has none yet, and what it has not read will not be read. Where a person could not enter, both are another run's.
function Write-Failure([string] $Digest, $Lock, [string] $Why) {
    [Console]::Error.WriteLine("cgw: $Why")
    if (-not $Lock) {
        if ($Digest -eq 'by-hand') { return }
        [IO.File]::Delete((Get-KeyPath))
        Start-Journal $Digest
    }
    [IO.File]::AppendAllText((Get-JournalPath), "cgw-failed $Why`r`n")
}

# The last line of a run. What follows the digest is for programs; a restart and the guard are what is still to be seen to.
function Complete-Journal([string] $Digest, [int] $Changed, [bool] $Reboot, [int] $Failed) {
    $guard = if ((Get-GuardState) -eq 'armed') { 'armed' } else { 'none' }
    Write-Journal "cgw-done $Digest changed=$Changed reboot=$("$Reboot".ToLower()) failed=$Failed guard=$guard boot=$(Get-BootSecond)"
}

# The complete lines of the journal; none where there is no journal, or that of another run.
function Read-Journal([string] $Digest) {
    $path = Get-JournalPath
    if (-not (Test-Path -LiteralPath $path)) { return }
    # Its writer goes on while this reads.
    $stream = [IO.File]::Open($path, 'Open', 'Read', 'ReadWrite, Delete')
    try { $text = (New-Object IO.StreamReader $stream).ReadToEnd() } finally { $stream.Dispose() }
    $lines = @($text.Substring(0, $text.LastIndexOf("`n") + 1) -split "`r?`n" | Where-Object { $_ })
    if ($lines.Count -gt 0 -and $lines[0] -eq "cgw-run $Digest") { $lines | Select-Object -Skip 1 }
}

function Get-RunTask([string] $Stack) { "cgw run $Stack" }
function Get-FailoverTask([string] $Stack) { "cgw failover $Stack" }

# Scheduled tasks run as SYSTEM, which the SID names in every language, with a script of this folder.
function Register-Script([string] $Name, [string] $File, [string] $Arguments, $Trigger, [switch] $Endless) {
    $path = Join-Path $PSScriptRoot $File
    # Zero is no limit (Microsoft, "New-ScheduledTaskSettingsSet").
    $limit = if ($Endless) { [TimeSpan]::Zero } else { [TimeSpan]::FromHours(2) }
    $settings = @{
        TaskName = $Name
        Action = New-ScheduledTaskAction -Execute 'powershell.exe' -Argument "-NoProfile -NonInteractive -ExecutionPolicy Bypass -File `"$path`" $Arguments".TrimEnd()
        Principal = New-ScheduledTaskPrincipal -UserId 'S-1-5-18' -LogonType ServiceAccount -RunLevel Highest
        Settings = New-ScheduledTaskSettingsSet -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries -MultipleInstances IgnoreNew -ExecutionTimeLimit $limit
        Force = $true
    }
    if ($Trigger) { $settings['Trigger'] = $Trigger }
    Register-ScheduledTask @settings | Out-Null
}

function Remove-Task([string] $Name) {
    if (Get-ScheduledTask -TaskName $Name -ErrorAction SilentlyContinue) { Unregister-ScheduledTask -TaskName $Name -Confirm:$false }
}

# The guard. Before the first change that could take away the way to the server, the policy of Windows Firewall with its rules
# for IPsec is exported, and a task is armed that puts it back. Only who comes over a new connection disarms it (confirm.ps1,
# follow.ps1 -Start); until then each further change gives it its time anew.
#
# INVARIANT: the policy is exported before anything is changed, and never again while the guard is armed. It holds keys: its
# folder is closed to others, and goes with the guard.
function Get-GuardFolder { Join-Path $PSScriptRoot 'guard' }
function Get-FiringFolder { Join-Path $PSScriptRoot 'guard-firing' }
function Get-GuardPolicy { Join-Path (Get-GuardFolder) 'policy.wfw' }
function Get-GuardTask([string] $Stack) { "cgw guard $Stack" }

# none; armed; restored, as soon as it puts the policy back, until the next run.
function Get-GuardState {
    if ((Test-Path -LiteralPath (Join-Path $PSScriptRoot 'restored.json')) -or (Test-Path -LiteralPath (Get-FiringFolder))) { return 'restored' }
    if (Test-Path -LiteralPath (Get-GuardFolder)) { 'armed' } else { 'none' }
}

function Enter-Guard([string] $Stack) {
    $state = Get-GuardState
    if ($state -eq 'restored') { throw 'the guard has put the firewall back meanwhile' }
    try {
        if ($state -eq 'none') {
            New-PrivateFolder (Get-GuardFolder)
            Invoke-Netsh @('advfirewall', 'export', (Get-GuardPolicy))
            $memory = Join-Path $PSScriptRoot 'rules.json'
            if (Test-Path -LiteralPath $memory) { Copy-Item -LiteralPath $memory -Destination (Get-GuardFolder) }
        }
        Register-Guard $Stack @((New-ScheduledTaskTrigger -Once -At ((Get-Date).AddMinutes(5))), (New-StartTrigger 'PT5M'))
    } catch {
        if ($state -eq 'none') { [void] (Exit-Guard $Stack) }
        throw
    }
}

function New-StartTrigger([string] $Delay) {
    $trigger = New-ScheduledTaskTrigger -AtStartup
    $trigger.Delay = $Delay
    $trigger
}

function Register-Guard([string] $Stack, $Trigger) { Register-Script (Get-GuardTask $Stack) 'guard.ps1' '' $Trigger }

# Disarms the guard; $false where its time has come at the same moment. Whoever moves the folder away has the say.
function Exit-Guard([string] $Stack) {
    $folder = Get-GuardFolder
    $off = "$folder-off"
    if (Test-Path -LiteralPath $folder) {
        try { Move-Item -LiteralPath $folder -Destination $off } catch { return $false }
    }
    if (Test-Path -LiteralPath $off) { Remove-Item -LiteralPath $off -Recurse -Force }
    if ((Get-GuardState) -eq 'restored') { return $false }
    Remove-Task (Get-GuardTask $Stack)
    $true
}

# How the machine is, for who has just connected.
function Write-State([string] $Guard) {
    $service = Get-CimInstance -ClassName Win32_Service -Filter "Name='RemoteAccess'"
    $rules = [ordered]@{}
    foreach ($name in Get-RuleName) { $rules[$name] = @(Get-Rule $name 'ActiveStore').Count }
    $state = [ordered]@{ boot = Get-BootSecond; reboot = Test-RestartPending; routing = "$($service.State)"; rules = $rules; guard = $Guard }
    Write-Line "cgw-state $(ConvertTo-Line $state)"
}
