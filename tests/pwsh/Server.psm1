# A modelled Windows Server for the playbook, on a real PowerShell: Windows' commands as functions with their documented
# parameters (tests/data/windows-commands.json), so that a wrong parameter or value fails in PowerShell's own binder.
# The server is plain data: a snapshot is a JSON text, and equal servers have equal texts. It lives in this process, or in a
# folder where several processes take turns at it (Open-Server).

$common = 'Verbose', 'Debug', 'ErrorAction', 'WarningAction', 'InformationAction', 'ProgressAction', 'ErrorVariable',
    'WarningVariable', 'InformationVariable', 'OutVariable', 'OutBuffer', 'PipelineVariable'
$types = @{ SwitchParameter = 'switch'; String = 'string'; 'String[]' = 'string[]'; Boolean = 'bool'; UInt32 = 'uint32'
    UInt64 = 'uint64'; UInt16 = 'uint16'; Int32 = 'int'; 'UInt32[]' = 'uint32[]' }

function Get-Declaration([string] $Name, $Entry) {
    $sets = if ($Entry.Contains('sets')) { @($Entry.sets) } else { @('') }
    $lines = @(foreach ($set in $sets) {
        $facts = @()
        if ($set) { $facts += "ParameterSetName='$set'" }
        if ($Entry.Contains('required') -and $Entry.required) { $facts += 'Mandatory' }
        if ($Entry.Contains('position') -and "$($Entry.position)" -match '^\d+$') { $facts += "Position=$($Entry.position)" }
        "[Parameter($($facts -join ', '))]"
    })
    if ($Entry.Contains('aliases')) { $lines += "[Alias($((@($Entry.aliases) | ForEach-Object { "'$_'" }) -join ', '))]" }
    if ($Entry.Contains('values')) { $lines += "[ValidateSet($((@($Entry.values) | ForEach-Object { "'$_'" }) -join ', '))]" }
    $type = if ($types.ContainsKey($Entry.type)) { $types[$Entry.type] } elseif ($Entry.type -like '*`[`]') { 'object[]' } else { 'object' }
    "$($lines -join '') [$type] `$$Name"
}

# The text of the functions that stand in for the commands of the data file.
function Get-CommandText([string] $Data) {
    foreach ($command in (Get-Content -Raw $Data | ConvertFrom-Json -AsHashtable).commands.GetEnumerator()) {
        $parameters = $command.Value.parameters
        $declarations = foreach ($one in $parameters.GetEnumerator()) { if ($one.Key -notin $common) { Get-Declaration $one.Key $one.Value } }
        $sets = @($parameters.Values | Where-Object { $_.Contains('sets') } | ForEach-Object { $_.sets })
        $binding = if ($sets) { "DefaultParameterSetName='$($sets[0])', PositionalBinding=`$false" } else { 'PositionalBinding=$false' }
        # Windows' Get- commands write an error when they are asked for what is not there.
        @"
function global:$($command.Key) { [CmdletBinding($binding)] param($($declarations -join ', '))
process { `$found = @(Invoke-Model '$($command.Key)' `$PSBoundParameters); `$found
if ('$($command.Key)' -match '^Get-(Net(IPsec|IPAddress|FirewallRule|TCPConnection|Adapter`$)|ScheduledTask)' -and `$found.Count -eq 0) { Write-Error -Category ObjectNotFound 'No objects found.' } } }
"@
    }
}

function New-Server {
    $script:Server = [ordered]@{
        version = '10.0.20348'; productType = 3; boot = [datetime] '2026-01-01T00:00:00Z'; label = 'S-1-16-12288'
        address = '172.31.16.10'; prefix = 20
        offload = [ordered]@{ IpIPv4Enabled = 'RxTxEnabled'; TcpIPv4Enabled = 'RxTxEnabled'; UdpIPv4Enabled = 'TxEnabled' }
        features = [ordered]@{}; needsRestart = $false; access = [ordered]@{ RoutingStatus = 'Uninstalled'; VpnStatus = 'Uninstalled' }
        services = [ordered]@{ BFE = 'Auto Running'; MpsSvc = 'Auto Running'; IKEEXT = 'Manual Stopped'; PolicyAgent = 'Manual Running' }
        firewalls = [ordered]@{ Domain = 'True'; Private = 'True'; Public = 'True' }; localRules = [ordered]@{ firewall = 'NotConfigured'; ipsec = 'NotConfigured' }; policyRules = @()
        forwarding = 'Disabled'; mtu = 9001; peer = 'answers'; negotiates = 0; pings = 0
        exemptions = 'NotConfigured'; machines = ''; users = 'O:LSD:(A;;CC;;;BA)'; policyExemptions = $null
        throughNat = 'NotConfigured'; idleSeconds = '300'; openings = [ordered]@{}
        mainMode = $null; quickMode = $null; friendly = $false; rules = @(); inForce = 1; registry = [ordered]@{}
        tasks = [ordered]@{}; restarts = 0; sessions = @(@{ from = '198.51.100.7'; port = 22 })
    }
    Clear-History
}
function Clear-History {
    $script:History = @{ calls = 0; failAt = 0; after = $false; arguments = @(); shutdowns = 0; unprotected = 0; keysSeen = 0; netshSays = $null; acls = @{} }
}
function Get-Server { $script:Server }
function Get-History { $script:History }
function Get-Snapshot { ConvertTo-Json -InputObject $script:Server -Depth 9 -Compress }

# Counts a change, and fails the chosen one, before or after it has its effect.
function Invoke-Change([scriptblock] $Change) {
    $script:History.calls++
    $hit = $script:History.calls -eq $script:History.failAt
    if ($hit -and -not $script:History.after) { throw "the modelled server failed call $($script:History.calls)" }
    Invoke-FaultAt 'before'
    & $Change
    Invoke-FaultAt 'after'
    if ($hit) { throw "the modelled server failed after call $($script:History.calls)" }
}

# What has been negotiated with the other end of the first rule that is on: the server's first suite, or a later one where the other
# end does not have that ('negotiates').
function Get-Carrier { $script:Server.rules | Where-Object { $_.enable -eq 'True' -and $_.qmsecmethods } | Select-Object -First 1 }
function Show-MainSA {
    $rule = Get-Carrier
    $suite = @($script:Server.mainMode.proposals)[$script:Server.negotiates]
    if ($rule -and $suite) { [pscustomobject] @{ RemoteEndpoint = $rule.remotetunnelendpoint; CipherAlgorithm = $ciphers[$suite.Encryption]; HashAlgorithm = $hashes[$suite.Hash]; GroupId = [int] $suite.KeyExchange.Substring(2) } }
}
function Show-QuickSA {
    $rule = Get-Carrier
    if (-not $rule) { return }
    $hash, $cipher = @($rule.qmsecmethods -split '[:+]')[1].Split('-')
    [pscustomobject] @{ RemoteEndpoint = $rule.remotetunnelendpoint; FirstCipherAlgorithm = $ciphers[$cipher]; FirstIntegrityAlgorithm = $hashes[($hash -replace '^AESGCM', 'AESGMAC')]; PfsGroupId = $pfsGroups[$rule.qmpfs] }
}
# The other end answers the third ping: 'answers', or 'silent' to key exchange, 'no-quick' mode, 'no-host' behind it, 'beside' the
# tunnels. What goes through them is counted, from shortly before the counter begins again.
$script:TunnelBytes = 4294967296 - 400
function Invoke-Ping([string[]] $Arguments) {
    $line = $Arguments -join ' '
    if ($line -notmatch '^-n 1 -w 1000 -S [\d.]+ [\d.]+$') { throw "ping.exe $line" }
    Use-Server { $script:Server.pings = [Math]::Min(9, $script:Server.pings + 1) }
    $global:LASTEXITCODE = 0
    $carriers = @($script:Server.rules | Where-Object { $_.enable -eq 'True' })
    if ($script:Server.pings -gt 2 -and $script:Server.peer -in 'answers', 'beside' -and $carriers.Count -gt 0) {
        if ($script:Server.peer -eq 'answers') { $script:TunnelBytes = ($script:TunnelBytes + 120) % 4294967296 }
        "Antwort von 10.0.1.10: Bytes=32 Zeit=12ms TTL=62"
    } else { 'Zielhost nicht erreichbar.' }
}
# The task of a run is there for a run that changes nothing too; those of the guard and of pings are changes like others.
function Invoke-TaskChange($Name, [scriptblock] $Change) { if ("$Name" -notlike 'cgw run*') { Invoke-Change $Change } else { & $Change } }

# Several processes, one server: server.json in a folder, which one of them has at a time. faults.json beside it says at which
# command something happens, with "once": true only one time:
#   {"fail": "<command>"}     it fails                       {"die": …}      its process dies
#   {"hang": …}               it does not come back          {"lose": …}     the session is lost
#   {"restart": …}            roles need a restart first
#   {"lockout": …}            from now on nobody gets in; at the third try the time of the guard has come
#   {"at": 7, "then": …}      at the seventh change of a process: 'before: die', 'after: die', or 'after: wait'
$script:Shared = $null
function Open-Server([string] $Path, [string] $Address) {
    $script:Shared = $Path
    if ($Address) { $script:Server.address = $Address }
    Use-Server { }
}
function Use-Server([scriptblock] $Use) {
    if (-not $script:Shared -or $script:Held) { return & $Use }
    # With its folders the server is gone, and all that runs on it.
    if (-not (Test-Path (Join-Path $script:Shared 'ProgramData'))) { Stop-Process -Id $PID -Force }
    $path = Join-Path $script:Shared 'server.json'
    while (-not $script:Held) { try { $script:Held = [IO.File]::Open("$path.lock", 'OpenOrCreate', 'ReadWrite', 'None') } catch { [Threading.Thread]::Sleep(10) } }
    try {
        if (Test-Path $path) {
            $read = ConvertFrom-Json -AsHashtable ([IO.File]::ReadAllText($path))
            $script:Server = $read.server
            $script:History.acls = $read.acls
            $script:History.shutdowns = $read.shutdowns
        }
        & $Use
    } finally {
        Save-Server
        $script:Held.Dispose()
        $script:Held = $null
    }
}
function Save-Server {
    $path = Join-Path $script:Shared 'server.json'
    $kept = @{ server = $script:Server; acls = $script:History.acls; shutdowns = $script:History.shutdowns }
    [IO.File]::WriteAllText("$path.new", (ConvertTo-Json $kept -Depth 9))
    [IO.File]::Move("$path.new", $path, $true)
}
# What happens to this process at one of its changes: it dies before or after the effect, or waits as long as the file "waiting" is
# there. No block of its own runs any more when it dies.
function Invoke-FaultAt([string] $When) {
    if (-not $script:Shared) { return }
    $path = Join-Path $script:Shared 'faults.json'
    if (-not (Test-Path $path)) { return }
    $faults = ConvertFrom-Json -AsHashtable ([IO.File]::ReadAllText($path))
    if ($faults.at -ne $script:History.calls -or -not "$($faults.then)".StartsWith($When)) { return }
    [IO.File]::Delete($path)
    Save-Server
    if ($faults.then -ne 'after: wait') { Stop-Process -Id $PID -Force }
    $waiting = Join-Path $script:Shared 'waiting'
    [IO.File]::WriteAllText($waiting, '')
    while (Test-Path $waiting) { [Threading.Thread]::Sleep(20) }
}
function Invoke-Fault([string] $Command) {
    if (-not $script:Shared) { return }
    $path = Join-Path $script:Shared 'faults.json'
    if (-not (Test-Path $path)) { return }
    $faults = ConvertFrom-Json -AsHashtable ([IO.File]::ReadAllText($path))
    if ($Command -notin @($faults.Values | Where-Object { $_ -is [string] })) { return }
    if ($faults.once) { [IO.File]::Delete($path) }
    if ($faults.fail -eq $Command) { throw "the modelled server failed $Command" }
    if ($faults.restart -eq $Command) { Use-Server { $script:Server.needsRestart = $true } }
    if ($faults.lockout -eq $Command) { [IO.File]::WriteAllText((Join-Path $script:Shared 'locked'), '') }
    if ($faults.lose -eq $Command) { Disconnect-Session }
    if ($faults.die -eq $Command) { Stop-Process -Id $PID -Force }
    while ((Test-Path $path) -and "$([IO.File]::ReadAllText($path))" -match "`"hang`":`"$Command`"") { [Threading.Thread]::Sleep(100) }
}
# The connection breaks: the sshd processes above this one die, and then this one.
function Disconnect-Session {
    $process = $PID
    while ($process -gt 1) {
        if ([IO.File]::ReadAllText("/proc/$process/comm").StartsWith('sshd')) { $found = $process } else { $found = $null }
        $process = [int] ([regex]::Match([IO.File]::ReadAllText("/proc/$process/status"), '(?m)^PPid:\s*(\d+)').Groups[1].Value)
        if ($found) { Stop-Process -Id $found -Force }
    }
    Stop-Process -Id $PID -Force
}
# Whether this process gets in: see {"lockout"}.
function Enter-Server {
    $path = Join-Path $script:Shared 'locked'
    if (-not (Test-Path $path)) { return }
    [IO.File]::AppendAllText($path, '.')
    if ([IO.File]::ReadAllText($path).Length -lt 3) { Disconnect-Session }
    [IO.File]::Delete($path)
    foreach ($name in @($script:Server.tasks.Keys | Where-Object { $_ -like 'cgw guard*' })) { Start-Timer $name }
    while (@($script:Server.tasks.Keys | Where-Object { $_ -like 'cgw guard*' }).Count -gt 0) { [Threading.Thread]::Sleep(100); Use-Server { } }
}

$ciphers = @{ None = 0; DES = 2; DES3 = 6; AES128 = 65001; AES192 = 65002; AES256 = 65003; AESGCM128 = 65004; AESGCM192 = 65005; AESGCM256 = 65006 }
$hashes = @{ None = 0; MD5 = 2; SHA1 = 3; SHA256 = 65001; SHA384 = 65002; AESGMAC128 = 65003; AESGMAC192 = 65004; AESGMAC256 = 65005 }
$pfsGroups = @{ none = 0; mainmode = 0; dhgroup1 = 1; dhgroup2 = 2; dhgroup14 = 14; ecdhp256 = 19; ecdhp384 = 20; dhgroup24 = 24 }
# A crypto set as its CIM class documents it, or as the cmdlets' own parameters name things.
function Show-Set($Set) {
    if (-not $Set) { return }
    $proposals = @(foreach ($p in $Set.proposals) {
        if ($script:Server.friendly) { [pscustomobject] $p; continue }
        $raw = [ordered]@{ CipherAlgorithm = $ciphers[$p.Encryption] }
        if ($p.Contains('KeyExchange')) { $raw.GroupId = [int] $p.KeyExchange.Substring(2); $raw.HashAlgorithm = $hashes[$p.Hash] }
        else { $raw.Encapsulation = @{ AH = 1; ESP = 2 }[$p.Encapsulation]; $raw.HashAlgorithmESP = $hashes[$p.ESPHash]; $raw.MaxLifetimeMinutes = $p.MaxMinutes; $raw.MaxLifetimeKilobytes = $p.MaxKiloBytes }
        [pscustomobject] $raw
    })
    [pscustomobject] @{ Proposals = $proposals; MaxLifetimeMinutes = $Set.minutes; MaxLifetimeSessions = $Set.sessions; ForceDiffieHellman = $Set.force }
}
function New-Set($Old, $p) {
    $set = [ordered]@{ proposals = @(); minutes = 480; sessions = 0; force = $false }
    if ($Old) { foreach ($key in @($Old.Keys)) { $set[$key] = $Old[$key] } }
    if ($p.ContainsKey('Proposal')) { $set.proposals = @($p.Proposal) }
    if ($p.ContainsKey('MaxMinutes')) { $set.minutes = $p.MaxMinutes }
    if ($p.ContainsKey('MaxSessions')) { $set.sessions = $p.MaxSessions }
    if ($p.ContainsKey('ForceDiffieHellman')) { $set.force = $p.ForceDiffieHellman }
    $set
}
# In which order things came leaves no trace in a snapshot.
function Get-Sorted($Table) { $sorted = [ordered]@{}; foreach ($n in @($Table.Keys | Sort-Object)) { $sorted[$n] = $Table[$n] }; $sorted }
function Show-Opening($Rule) {
    if ($script:Server.friendly) { return [pscustomobject] $Rule }
    $numbers = @{ Inbound = 1; Outbound = 2; Allow = 2; Block = 4; True = 1; False = 2 }
    [pscustomobject] @{ Name = $Rule.Name; Direction = $numbers[$Rule.Direction]; Action = $numbers[$Rule.Action]; Enabled = $numbers[$Rule.Enabled]; Profile = "$($Rule.Profile)" }
}
function Get-RuleOf($p) { $script:Server.rules | Where-Object { "{$($_.name)}" -eq $p.AssociatedNetIPsecRule.Name } | Select-Object -First 1 }
# netsh's words for a rule, as the properties of MSFT_NetConSecRule.
function Show-Rule($Rule) {
    $security = @(@{ requireinclearout = 2, 0; requestinrequestout = 1, 1; requireinrequireout = 2, 2; noauthentication = 0, 0 }["$($Rule.action)"])
    [pscustomobject] @{ Name = "{$($Rule.name)}"; DisplayName = $Rule.name; Enabled = $Rule.enable; Profile = $Rule.profile; Mode = "$($Rule.type) $($Rule.mode)"
        InboundSecurity = $security[0]; OutboundSecurity = $security[1]; LocalTunnelEndpoint = @($Rule.localtunnelendpoint); RemoteTunnelEndpoint = @($Rule.remotetunnelendpoint)
        RequireAuthorization = $Rule.applyauthz; EncryptedTunnelBypass = $Rule.exemptipsecprotectedconnections; Phase1AuthSet = $Rule.auth1 }
}
function Select-Known($p, [string[]] $Names) { $all = [ordered]@{}; foreach ($n in $Names) { $all[$n] = $p[$n] }; $all }
function Confirm-Default([string] $Name, $p, [string] $End) {
    if ($p.PolicyStore -ne 'PersistentStore') { throw "$Name outside the PersistentStore" }
    if ($p.ContainsKey('Name') -and $p.Name -ne "{E5A5D32A-4BCE-4e4d-B07F-4AB1BA7E5FE$End}") { throw "$Name is asked about another set" }
}

$models = @{
    'Get-NetTCPConnection' = { param($p)
        if ("$($p.State)" -ne 'Established' -or ("$($p.LocalPort)" -notlike '22 3389 5985 5986*')) { throw 'other connections' }
        foreach ($one in $script:Server.sessions) { if ($one.port -in $p.LocalPort) { [pscustomobject] @{ RemoteAddress = $one.from } } } }
    'New-ScheduledTaskAction' = { param($p) [pscustomobject] @{ execute = $p.Execute; arguments = $p.Argument } }
    'New-ScheduledTaskPrincipal' = { param($p) [pscustomobject] @{ user = $p.UserId; as = "$($p.LogonType) $($p.RunLevel)" } }
    'New-ScheduledTaskSettingsSet' = { param($p) if ("$($p.MultipleInstances)" -ne 'IgnoreNew') { throw 'it could run twice' }; [pscustomobject] @{ limit = $p.ExecutionTimeLimit } }
    'New-ScheduledTaskTrigger' = { param($p)
        if ($p.Once) { if ($p.At -lt (Get-Date)) { throw 'the time is past' }; [pscustomobject] @{ kind = 'once'; Delay = $null } } else { [pscustomobject] @{ kind = 'startup'; Delay = $null } } }
    'Register-ScheduledTask' = { param($p)
        if ($script:Server.tasks.Contains($p.TaskName) -and -not $p.Force) { throw "the task $($p.TaskName) exists" }
        if ("$($p.Principal.user) $($p.Principal.as) $($p.Action.execute)" -ne 'S-1-5-18 ServiceAccount Highest powershell.exe') { throw 'another task than was thought of' }
        Invoke-TaskChange $p.TaskName {
            $script:Server.tasks[$p.TaskName] = [ordered]@{ arguments = $p.Action.arguments; state = 'Ready'; triggers = @($p.Trigger | ForEach-Object { "$($_.kind) $($_.Delay)".Trim() }) }
            $script:Server.tasks = Get-Sorted $script:Server.tasks }
        [pscustomobject] @{ TaskName = $p.TaskName } }
    'Get-ScheduledTask' = { param($p) $task = $script:Server.tasks["$($p.TaskName)"]; if ($task) { [pscustomobject] @{ TaskName = "$($p.TaskName)"; State = Get-TaskState $task; Actions = @([pscustomobject] @{ Arguments = $task.arguments }) } } }
    'Start-ScheduledTask' = { param($p) $name = $p.TaskName; $script:Due = { Use-Server { Start-Task $name } }.GetNewClosure() }
    'Stop-ScheduledTask' = { param($p)
        $task = $script:Server.tasks["$($p.TaskName)"]
        if (-not $task) { throw 'no such task' }
        if ($task.process) { Stop-Process -Id $task.process -Force -ErrorAction SilentlyContinue }
        $task.state = 'Ready' }
    'Unregister-ScheduledTask' = { param($p)
        if ($p.Confirm -ne $false) { throw 'it asks' }
        if (-not $script:Server.tasks.Contains("$($p.TaskName)")) { throw 'no such task' }
        Invoke-TaskChange $p.TaskName { $script:Server.tasks.Remove("$($p.TaskName)") } }
    'Get-NetIPAddress' = { param($p) if ($script:Server.address -in $p.IPAddress) { [pscustomobject] @{ IPAddress = $script:Server.address; InterfaceIndex = 7; PrefixLength = $script:Server.prefix } } }
    'Get-NetAdapter' = { param($p) if (7 -in $p.InterfaceIndex) { [pscustomobject] @{ Name = 'Ethernet'; InterfaceIndex = 7; InterfaceDescription = 'Amazon Elastic Network Adapter' } } }
    'Get-NetAdapterChecksumOffload' = { param($p) [pscustomobject] $script:Server.offload }
    'Set-NetAdapterChecksumOffload' = { param($p)
        if (-not $p.NoRestart) { throw 'the adapter restarts, the session is gone' }
        if ("$($p.Name)" -ne 'Ethernet') { throw 'another adapter' }
        Invoke-Change { foreach ($one in 'IpIPv4Enabled', 'TcpIPv4Enabled', 'UdpIPv4Enabled') { if ($p.ContainsKey($one)) { $script:Server.offload[$one] = "$($p[$one])" } } } }
    'Get-NetFirewallProfile' = { param($p) foreach ($one in $script:Server.firewalls.GetEnumerator()) { [pscustomobject] @{ Name = $one.Key; Enabled = $one.Value; AllowLocalFirewallRules = $script:Server.localRules.firewall; AllowLocalIPsecRules = $script:Server.localRules.ipsec } } }
    'Get-NetFirewallSetting' = { param($p)
        $exemptions = $script:Server.exemptions
        if ($p.PolicyStore -eq 'ActiveStore' -and $script:Server.policyExemptions) { $exemptions = $script:Server.policyExemptions }
        [pscustomobject] @{ Exemptions = $exemptions; RemoteMachineTunnelAuthorizationList = $script:Server.machines; RemoteUserTunnelAuthorizationList = $script:Server.users
            AllowIPsecThroughNAT = if ($script:Server.friendly -or $script:Server.throughNat -ne 'Both') { $script:Server.throughNat } else { 2 }
            MaxSAIdleTimeSeconds = $script:Server.idleSeconds } }
    'Set-NetFirewallSetting' = { param($p) Invoke-Change {
        if ($p.ContainsKey('Exemptions')) { $script:Server.exemptions = @($p.Exemptions) -join ', ' }
        if ($p.ContainsKey('RemoteMachineTunnelAuthorizationList')) { $script:Server.machines = $p.RemoteMachineTunnelAuthorizationList }
        if ($p.ContainsKey('RemoteUserTunnelAuthorizationList')) { $script:Server.users = $p.RemoteUserTunnelAuthorizationList }
        if ($p.ContainsKey('AllowIPsecThroughNAT')) { $script:Server.throughNat = "$($p.AllowIPsecThroughNAT)" }
        if ($p.ContainsKey('MaxSAIdleTimeSeconds')) {
            if ($p.MaxSAIdleTimeSeconds -lt 300 -or $p.MaxSAIdleTimeSeconds -gt 3600) { throw 'the idle time is 300 to 3600 seconds' }
            $script:Server.idleSeconds = "$($p.MaxSAIdleTimeSeconds)" } } }
    'Get-NetFirewallRule' = { param($p) foreach ($n in $p.Name) { if ($script:Server.openings.Contains($n)) { Show-Opening $script:Server.openings[$n] } } }
    'New-NetFirewallRule' = { param($p)
        if ($p.PolicyStore -ne 'PersistentStore' -or $script:Server.openings.Contains($p.Name)) { throw 'the rule exists' }
        Invoke-Change {
            $script:Server.openings[$p.Name] = Select-Known $p 'Name', 'DisplayName', 'Direction', 'Action', 'Enabled', 'Profile', 'Protocol', 'LocalPort', 'IcmpType', 'RemoteAddress'
            $script:Server.openings = Get-Sorted $script:Server.openings } }
    'Remove-NetFirewallRule' = { param($p)
        if (-not $script:Server.openings.Contains("$($p.Name)")) { throw 'no such rule' }
        Invoke-Change { $script:Server.openings.Remove("$($p.Name)") } }
    'Get-NetFirewallPortFilter' = { param($p)
        if ($p.AssociatedNetIPsecRule) { return [pscustomobject] @{ Protocol = (Get-RuleOf $p).protocol; LocalPort = 'Any'; RemotePort = 'Any' } }
        $rule = $script:Server.openings[$p.AssociatedNetFirewallRule.Name]
        [pscustomobject] @{ Protocol = $rule.Protocol; LocalPort = if ($rule.LocalPort) { $rule.LocalPort } else { 'Any' }; IcmpType = if ($rule.IcmpType) { $rule.IcmpType } else { 'Any' } } }
    'Get-NetFirewallAddressFilter' = { param($p)
        # Windows keeps networks with their masks.
        $show = { param($addresses) $all = @($addresses | ForEach-Object { $_ -replace '/16$', '/255.255.0.0' }); if ($all.Count -eq 1) { $all[0] } else { $all } }
        if ($p.AssociatedNetIPsecRule) {
            $rule = Get-RuleOf $p
            return [pscustomobject] @{ LocalAddress = & $show $rule.endpoint1; RemoteAddress = & $show $rule.endpoint2 }
        }
        [pscustomobject] @{ RemoteAddress = & $show $script:Server.openings[$p.AssociatedNetFirewallRule.Name].RemoteAddress } }
    'Get-WindowsFeature' = { param($p) foreach ($n in $p.Name) { $state = $script:Server.features[$n]; if (-not $state) { $state = 'Available' }; [pscustomobject] @{ Name = $n; InstallState = $state } } }
    'Install-WindowsFeature' = { param($p)
        if (-not $p.IncludeManagementTools) { throw 'without management tools' }
        Invoke-Change {
            foreach ($n in $p.Name) { $script:Server.features[$n] = if ($script:Server.needsRestart) { 'InstallPending' } else { 'Installed' } }
            # Which of them were missing leaves no trace in the end.
            $script:Server.features = Get-Sorted $script:Server.features
            if (-not $script:Server.services.Contains('RemoteAccess')) { $script:Server.services['RemoteAccess'] = 'Disabled Stopped' } }
        [pscustomobject] @{ Success = $true; ExitCode = 'Success'; RestartNeeded = if ($script:Server.needsRestart) { 'Yes' } else { 'No' } } }
    'Uninstall-WindowsFeature' = { param($p)
        $inUse = @(if ($script:Server.access.RoutingStatus -eq 'Installed') { 'RemoteAccess', 'DirectAccess-VPN', 'Routing' }; if ($script:Server.access.VpnStatus -eq 'Installed') { 'RemoteAccess', 'DirectAccess-VPN' })
        foreach ($n in $p.Name) { if ($n -in $inUse) { throw "$n is in use" } }
        Invoke-Change {
            foreach ($n in $p.Name) { $script:Server.features.Remove($n) }
            if (-not $script:Server.features.Contains('RemoteAccess')) { $script:Server.services.Remove('RemoteAccess') } }
        [pscustomobject] @{ Success = $true; ExitCode = 'Success'; RestartNeeded = 'Yes' } }
    'Uninstall-RemoteAccess' = { param($p)
        if (-not $p.Force) { throw 'it asks' }
        Invoke-Change { $script:Server.access.RoutingStatus = 'Uninstalled'; $script:Server.services['RemoteAccess'] = 'Disabled Stopped' } }
    'Get-RemoteAccess' = { param($p) [pscustomobject] $script:Server.access }
    'Install-RemoteAccess' = { param($p)
        if ([version] $script:Server.version -lt [version] '10.0') { throw 'RoutingOnly is not known here' }
        if ($p.VpnType -ne 'RoutingOnly' -or $script:Server.features['Routing'] -ne 'Installed') { throw 'the role is missing' }
        Invoke-Change { $script:Server.access.RoutingStatus = 'Installed' } }
    'Get-NetIPInterface' = { param($p) [pscustomobject] @{ InterfaceIndex = 7; Forwarding = $script:Server.forwarding; NlMtu = $script:Server.mtu } }
    'Set-NetIPInterface' = { param($p) Invoke-Change {
        if ($p.ContainsKey('Forwarding')) { $script:Server.forwarding = $p.Forwarding }
        if ($p.ContainsKey('NlMtuBytes')) { $script:Server.mtu = [int] $p.NlMtuBytes } } }
    'Get-NetIPsecMainModeSA' = { param($p) if ($script:Server.pings -gt 2 -and $script:Server.peer -ne 'silent') { Show-MainSA } }
    'Get-NetIPsecQuickModeSA' = { param($p) if ($script:Server.pings -gt 2 -and $script:Server.peer -in 'answers', 'no-host', 'beside') { Show-QuickSA } }
    'New-NetIPsecMainModeCryptoProposal' = { param($p) , (Select-Known $p 'KeyExchange', 'Encryption', 'Hash') }
    'New-NetIPsecQuickModeCryptoProposal' = { param($p) , (Select-Known $p 'Encapsulation', 'ESPHash', 'Encryption', 'MaxMinutes', 'MaxKiloBytes') }
    'Get-NetIPsecMainModeCryptoSet' = { param($p) Confirm-Default 'Get' $p 1; Show-Set $script:Server.mainMode }
    'Get-NetIPsecQuickModeCryptoSet' = { param($p)
        if ($p.AssociatedNetIPsecRule) {
            $rule = Get-RuleOf $p
            if (-not $rule.qmsecmethods) { return }
            $hash, $cipher, $minutes, $kilobytes = $rule.qmsecmethods.Split(':')[1] -split '[-+]'
            $proposal = [pscustomobject] @{ Encapsulation = 2; CipherAlgorithm = $cipher; HashAlgorithmESP = $hash; MaxLifetimeMinutes = $minutes; MaxLifetimeKilobytes = $kilobytes }
            return [pscustomobject] @{ PfsGroupID = $pfsGroups[$rule.qmpfs]; Proposals = @($proposal) }
        }
        Confirm-Default 'Get' $p 2; Show-Set $script:Server.quickMode }
    'New-NetIPsecMainModeCryptoSet' = { param($p) Confirm-Default 'New' $p 1; if ($script:Server.mainMode -or -not $p.Default) { throw 'the default set exists' }; Invoke-Change { $script:Server.mainMode = New-Set $null $p } }
    'New-NetIPsecQuickModeCryptoSet' = { param($p) Confirm-Default 'New' $p 2; if ($script:Server.quickMode -or -not $p.Default) { throw 'the default set exists' }; Invoke-Change { $script:Server.quickMode = New-Set $null $p } }
    'Set-NetIPsecMainModeCryptoSet' = { param($p) Confirm-Default 'Set' $p 1; if (-not $script:Server.mainMode) { throw 'no such set' }; Invoke-Change { $script:Server.mainMode = New-Set $script:Server.mainMode $p } }
    'Set-NetIPsecQuickModeCryptoSet' = { param($p) Confirm-Default 'Set' $p 2; if (-not $script:Server.quickMode) { throw 'no such set' }; Invoke-Change { $script:Server.quickMode = New-Set $script:Server.quickMode $p } }
    'Remove-NetIPsecMainModeCryptoSet' = { param($p) Confirm-Default 'Remove' $p 1; if (-not $script:Server.mainMode) { throw 'no such set' }; Invoke-Change { $script:Server.mainMode = $null } }
    'Remove-NetIPsecQuickModeCryptoSet' = { param($p) Confirm-Default 'Remove' $p 2; if (-not $script:Server.quickMode) { throw 'no such set' }; Invoke-Change { $script:Server.quickMode = $null } }
    'Enable-NetIPsecRule' = { param($p) Invoke-Change { foreach ($rule in $script:Server.rules) { if ("$($p.DisplayName)$($p.IPsecRuleName)" -in $rule.name, "{$($rule.name)}") { $rule.enable = 'True' } } } }
    'Disable-NetIPsecRule' = { param($p) Invoke-Change { $script:Server.pings = 0; foreach ($rule in $script:Server.rules) { if ("$($p.DisplayName)$($p.IPsecRuleName)" -in $rule.name, "{$($rule.name)}") { $rule.enable = 'False' } } } }
    'Get-NetIPsecRule' = { param($p)
        if ($p.PolicyStore -eq 'RSOP') { foreach ($name in $script:Server.policyRules) { [pscustomobject] @{ DisplayName = $name } }; return }
        $times = if ($p.PolicyStore -eq 'ActiveStore') { $script:Server.inForce } else { 1 }
        foreach ($rule in $script:Server.rules) {
            if (($p.DisplayName -or $p.IPsecRuleName) -and $rule.name -notin $p.DisplayName -and "{$($rule.name)}" -notin $p.IPsecRuleName) { continue }
            for ($n = 0; $n -lt $times; $n++) { Show-Rule $rule }
        } }
}
function Invoke-Model([string] $Command, $Parameters) {
    if (-not $models.ContainsKey($Command)) { throw "No model for $Command" }
    Invoke-Fault $Command
    Use-Server { & $models[$Command] $Parameters }
    if ($script:Due) { $due = $script:Due; $script:Due = $null; & $due }
}

# Scheduled tasks: a script of powershell.exe, run as SYSTEM. In several processes it is one of its own; in one it runs to its end
# before Start-ScheduledTask comes back, through a block of the caller's: called from here it would share this module's scope.
function Start-Task([string] $Name) {
    $task = $script:Server.tasks[$Name]
    if (-not $task) { throw "no task $Name" }
    if ($task.arguments -notmatch '^-NoProfile -NonInteractive -ExecutionPolicy Bypass -File "([^"]+)" ?(.*)$') { throw "the task runs $($task.arguments)" }
    $path, $rest = $Matches[1], @($Matches[2] -split ' ' | Where-Object { $_ })
    if ($script:Shared) {
        $task.process = [Diagnostics.Process]::Start((Get-DetachedStart $path $rest)).Id
        return
    }
    if ($path -like '*keepalive.ps1') { $task.state = 'Running'; return }
    $task.state = 'Running'
    $named = @{}
    for ($n = 0; $n -lt $rest.Count; $n++) { $key = $rest[$n].TrimStart('-'); if ($n + 1 -lt $rest.Count -and -not $rest[$n + 1].StartsWith('-')) { $named[$key] = $rest[++$n] } else { $named[$key] = $true } }
    $said = [Console]::Out, [Console]::Error
    [Console]::SetOut([IO.TextWriter]::Null); [Console]::SetError([IO.TextWriter]::Null)
    try { & $global:RunFile $path $named } finally { [Console]::SetOut($said[0]); [Console]::SetError($said[1]); if ($script:Server.tasks[$Name]) { $script:Server.tasks[$Name].state = 'Ready' } }
}
# setsid: it survives the session, and its end.
function Get-DetachedStart([string] $Path, [string[]] $Arguments) {
    $start = [Diagnostics.ProcessStartInfo]::new('setsid')
    foreach ($one in @((Join-Path $PSScriptRoot 'powershell.exe'), '-File', $Path) + $Arguments) { $start.ArgumentList.Add($one) }
    $start.RedirectStandardInput = $start.RedirectStandardOutput = $start.RedirectStandardError = $true
    $start
}
function Get-TaskState($Task) {
    if (-not $script:Shared) { return $Task.state }
    if ($Task.process -and (Get-Process -Id $Task.process -ErrorAction SilentlyContinue)) { 'Running' } else { 'Ready' }
}
# As when the time of a task has come.
function Start-Timer([string] $Name) { Use-Server { Start-Task $Name } }

# netsh, with its rule line's parameters as the guide lists them.
$ruleKeys = 'name', 'enable', 'profile', 'type', 'mode', 'localtunnelendpoint', 'remotetunnelendpoint', 'endpoint1', 'endpoint2', 'protocol',
    'action', 'auth1', 'auth1psk', 'qmsecmethods', 'exemptipsecprotectedconnections', 'applyauthz', 'qmpfs'
# What an export of the policy holds.
$policy = 'exemptions', 'machines', 'users', 'throughNat', 'idleSeconds', 'openings', 'mainMode', 'quickMode', 'rules'
function Invoke-NetshLine([string] $Line) {
    $script:Line = $Line
    if ($Line -match '^advfirewall export (?<path>.+)$') {
        $path = $Matches.path
        if ($script:History.acls[(Split-Path $path)] -ne 'O:BAG:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)') { $script:History.unprotected++ }
        Invoke-Change { $kept = [ordered]@{}; foreach ($one in $policy) { $kept[$one] = $script:Server[$one] }; [IO.File]::WriteAllText($path, (ConvertTo-Json $kept -Depth 9)) }
        return 0
    }
    if ($Line -match '^advfirewall import (?<path>.+)$') {
        if (-not (Test-Path $Matches.path)) { return 1 }
        $kept = ConvertFrom-Json -AsHashtable ([IO.File]::ReadAllText($Matches.path))
        Invoke-Change { foreach ($one in $policy) { $script:Server[$one] = $kept[$one] } }
        return 0
    }
    if ($Line -match '^advfirewall consec delete rule "?name="?(?<name>[^"]+)"?$') {
        $name = $Matches.name
        if (@($script:Server.rules | Where-Object { $_.name -eq $name }).Count -eq 0) { return 1 }
        Invoke-Change { $script:Server.rules = @($script:Server.rules | Where-Object { $_.name -ne $name }) }
        return 0
    }
    if ($Line -match '^advfirewall consec add rule (?<rest>.+)$') {
        $rule = [ordered]@{}
        foreach ($match in [regex]::Matches($Matches.rest, '(\w+)=(?:"([^"]*)"|(\S+))(?:\s|$)')) { $rule[$match.Groups[1].Value] = $match.Groups[2].Value + $match.Groups[3].Value }
        if ((@($rule.Keys) -join ' ') -cne ($ruleKeys -join ' ')) { throw "the rule has the parameters $(@($rule.Keys) -join ' ')" }
        if ($Line.Contains('endpoint1=1') -or $Line.Contains('endpoint2=1')) { throw 'the networks of the rule are not quoted' }
        $rule.enable = if ($rule.enable -eq 'yes') { 'True' } else { 'False' }
        Invoke-Change { $script:Server.rules = @(@($script:Server.rules) + $rule | Sort-Object { $_.name }) }
        return 0
    }
    if ($Line -eq 'ras set type ipv4rtrtype=lanonly ipv6rtrtype=none rastype=none') { Invoke-Change { $script:Server.access['type'] = 'lanonly' }; return 0 }
    if ($Line -eq 'ras set conf confstate=disabled') { Invoke-Change { $script:Server.access.RoutingStatus = 'Uninstalled'; $script:Server.access.Remove('type'); $script:Server.services['RemoteAccess'] = 'Disabled Stopped' }; return 0 }
    if ($Line -eq 'ras set conf confstate=enabled') { Invoke-Change { $script:Server.access.RoutingStatus = 'Installed' }; return 0 }
    1
}
function Invoke-NetshModel([object[]] $Arguments) { Invoke-Fault "netsh $($Arguments[0])"; Use-Server { Invoke-NetshProgram $Arguments } }
function Invoke-NetshProgram([object[]] $Arguments) {
    $script:History.arguments += $Arguments -join ' '
    $lines = @($Arguments -join ' ')
    if ($Arguments[0] -eq '-f') {
        if ($script:History.acls[$Arguments[1]] -ne 'O:BAG:BAD:P(A;;FA;;;SY)(A;;FA;;;BA)') { $script:History.unprotected++ }
        if (Test-Path (Join-Path (Split-Path $Arguments[1]) 'keys.txt')) { $script:History.keysSeen++ }
        $lines = [IO.File]::ReadAllText($Arguments[1]).TrimEnd() -split "`r`n"
    }
    $code = 0
    foreach ($line in $lines) { $code = [Math]::Max($code, (Invoke-NetshLine $line)) }
    if ($script:History.netshSays -and $Arguments[0] -eq '-f') { $script:History.netshSays; $lines; $code = 1 }
    $global:LASTEXITCODE = $code
}

function Get-CimModel([string] $ClassName, [string] $Filter) { Use-Server { Get-Cim $ClassName $Filter } }
function Get-Cim([string] $ClassName, [string] $Filter) {
    if ($ClassName -eq 'Win32_OperatingSystem') { return [pscustomobject] @{ Version = $script:Server.version; ProductType = $script:Server.productType; LastBootUpTime = $script:Server.boot } }
    if ($ClassName -eq 'Win32_PerfRawData_Counters_IPsecDriver') {
        if ($script:Server.version -ne '6.3.9600') { [pscustomobject] @{ BytesSentinTunnelModePersec = [uint32] $script:TunnelBytes; BytesReceivedinTunnelModePersec = [uint32] $script:TunnelBytes } }
        return
    }
    if ($ClassName -ne 'Win32_Service' -or $Filter -notmatch "^Name='(\w+)'$") { throw "No model for $ClassName where $Filter" }
    $service = $script:Server.services[$Matches[1]]
    if ($service) { [pscustomobject] @{ Name = $Matches[1]; StartMode = $service.Split(' ')[0]; State = $service.Split(' ')[1] } }
}
function Set-ServiceModel([string] $Name, [string] $StartMode, [string] $State) { Invoke-Fault 'service'; Use-Server { Set-ServiceState $Name $StartMode $State } }
function Set-ServiceState([string] $Name, [string] $StartMode, [string] $State) {
    $old = $script:Server.services[$Name]
    if (-not $old) { throw "no service $Name" }
    if ($State -eq 'Running' -and $old.StartsWith('Disabled')) { throw "the service $Name is disabled" }
    if (-not $StartMode) { $StartMode = $old.Split(' ')[0] }
    if (-not $State) { $State = $old.Split(' ')[1] }
    Invoke-Change { $script:Server.services[$Name] = "$StartMode $State" }
}
# The numbers of the registry that the scripts may touch, and under which key.
$registryKeys = @{ EnableDeadGWDetect = 'HKLM:\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters'
    AssumeUDPEncapsulationContextOnSendRule = 'HKLM:\SYSTEM\CurrentControlSet\Services\PolicyAgent' }
function Confirm-Registry([string] $Path, [string] $Name) { if ($registryKeys[$Name] -ne $Path) { throw "the registry has no $Path, $Name" } }
function Get-RegistryModel([string] $Path, [string] $Name) {
    Confirm-Registry $Path $Name
    Use-Server { if ($script:Server.registry.Contains($Name)) { [pscustomobject] @{ $Name = $script:Server.registry[$Name] } } }
}
function Set-RegistryModel([string] $Path, [string] $Name, $Value) {
    Confirm-Registry $Path $Name
    Use-Server { Invoke-Change {
        $script:Server.registry[$Name] = $Value
        $script:Server.registry = Get-Sorted $script:Server.registry } }
}

function Remove-RegistryModel([string] $Path, [string] $Name) {
    Confirm-Registry $Path $Name
    Use-Server {
        if (-not $script:Server.registry.Contains($Name)) { throw "no property $Name" }
        Invoke-Change { $script:Server.registry.Remove($Name) } }
}

# Folders and their rights: .NET on Linux has none, so the objects that the scripts make are stand-ins too.
function New-AclModel {
    $acl = [pscustomobject] @{ sddl = '' }
    $acl | Add-Member ScriptMethod SetSecurityDescriptorSddlForm { $this.sddl = $args[0] }
    $acl | Add-Member ScriptMethod GetSecurityDescriptorSddlForm { $this.sddl.Substring(0, 4) }
    $acl
}
function New-FolderModel([string] $Path) {
    $folder = [pscustomobject] @{ path = $Path; Exists = [IO.Directory]::Exists($Path) }
    $folder | Add-Member ScriptMethod Create { [void] [IO.Directory]::CreateDirectory($this.path); Set-AclModel $this.path $args[0] }
    $folder | Add-Member ScriptMethod SetAccessControl { Set-AclModel $this.path $args[0] }
    $folder | Add-Member ScriptMethod GetAccessControl { [pscustomobject] @{ sddl = Get-AclModel $this.path } | Add-Member ScriptMethod GetSecurityDescriptorSddlForm { "$($this.sddl)".PadRight(4).Substring(0, 4) } -PassThru }
    $folder
}
function Get-AclModel([string] $Path) { Use-Server { $script:History.acls[$Path] } }
function Set-AclModel([string] $Path, $Acl) { Use-Server { $script:History.acls[$Path] = $Acl.sddl } }
# The new boot: what was pending is done, what ran is gone.
function Restart-Server {
    $script:Server.boot = ([datetime] $script:Server.boot).AddHours(1)
    foreach ($name in @($script:Server.features.Keys)) { if ($script:Server.features[$name] -eq 'InstallPending') { $script:Server.features[$name] = 'Installed' } }
    $script:Server.needsRestart = $false
}

# Defines all of it where the scripts look: as global functions, which go before cmdlets and programs.
function Install-Stand([string] $Data, [string] $Cache) {
    if ($Cache -and (Test-Path $Cache)) {
        $text = [IO.File]::ReadAllText($Cache)
    } else {
        $text = @(Get-CommandText $Data) -join "`n"
        # Beside, then moved: several processes may do so at once.
        if ($Cache) { [IO.File]::WriteAllText("$Cache.$PID", $text); [IO.File]::Move("$Cache.$PID", $Cache, $true) }
    }
    . ([scriptblock]::Create($text))
    # Windows PowerShell hands an array of JSON over as one object.
    $global:PSDefaultParameterValues['ConvertFrom-Json:NoEnumerate'] = $true
    $texts = @(
        'function global:Get-CimInstance { [CmdletBinding()] param($ClassName, $Filter) Get-CimModel $ClassName $Filter }'
        'function global:Set-Service { [CmdletBinding()] param($Name, [ValidateSet("Automatic", "Manual", "Disabled")] $StartupType) Set-ServiceModel $Name ($StartupType -replace "^Automatic$", "Auto") "" }'
        'function global:Stop-Service { [CmdletBinding()] param($Name, [switch] $Force) Set-ServiceModel $Name "" Stopped }'
        'function global:Start-Service { [CmdletBinding()] param($Name) Set-ServiceModel $Name "" Running }'
        'function global:Import-Module { [CmdletBinding()] param($Name) if ($Name -ne "RemoteAccess" -or (Get-Server).features["RSAT-RemoteAccess-PowerShell"] -ne "Installed") { throw "no module $Name" } }'
        'function global:Start-Sleep { [CmdletBinding()] param($Seconds, $Milliseconds) Suspend-Model }'
        'function global:Set-Acl { [CmdletBinding()] param($LiteralPath, $AclObject) Set-AclModel $LiteralPath $AclObject }'
        'function global:Get-ItemProperty { [CmdletBinding()] param($Path, $Name)
            $found = Get-RegistryModel $Path $Name; if ($found) { $found } else { Write-Error "no property $Name" } }'
        'function global:Remove-ItemProperty { [CmdletBinding()] param($Path, $Name) Remove-RegistryModel $Path $Name }'
        'function global:New-ItemProperty { [CmdletBinding()] param($Path, $Name, [ValidateSet("DWord")] $PropertyType, $Value, [switch] $Force)
            if (-not $Force) { throw "exists" }; Set-RegistryModel $Path $Name $Value }'
        'function global:New-Object { param([string] $TypeName, $ArgumentList, $Property)
            if ($TypeName -like "Security.AccessControl.*Security") { return New-AclModel }
            if ($TypeName -eq "IO.DirectoryInfo") { return New-FolderModel $ArgumentList }
            Microsoft.PowerShell.Utility\New-Object @PSBoundParameters }'
        # A program gets the parts of an array one by one, a function the array.
        'function global:ping.exe { Invoke-Ping @($args | ForEach-Object { "$_" }) }'
        'function global:netsh.exe { Invoke-NetshModel @($args | ForEach-Object { $_ }) }'
        'function global:whoami.exe { "Mandatory Label\\x Label $((Get-Server).label) Mandatory group" }'
        'function global:shutdown.exe { Stop-Model ($args -join " "); $global:LASTEXITCODE = 0 }'
    )
    foreach ($one in $texts) { . ([scriptblock]::Create($one)) }
}
# The server restarts. In several processes it has done so at the second look after that.
function Stop-Model([string] $How) { Use-Server { $script:History.shutdowns++; $script:Server.restarts = 2 }; $script:History.shutdown = $How }
function Complete-Restart {
    Use-Server {
        if (-not $script:Server.restarts) { return }
        $script:Server.restarts--
        if ($script:Server.restarts -eq 0) { Restart-Server } }
}
# In one process nothing is waited for: what was begun has ended.
function Suspend-Model { if ($script:Shared) { Invoke-Fault 'Start-Sleep'; [Threading.Thread]::Sleep(50) } }
New-Server
Export-ModuleMember -Function *
