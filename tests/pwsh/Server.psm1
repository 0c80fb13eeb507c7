# A modelled Windows Server for the playbook, on a real PowerShell: Windows' commands as functions with their documented
# parameters (tests/data/windows-commands.json), so that a wrong parameter or value fails in PowerShell's own binder.
# The server is plain data: a snapshot is a JSON text, and equal servers have equal texts.

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
if ('$($command.Key)' -match '^Get-Net(IPsec|IPAddress|FirewallRule|Adapter`$)' -and `$found.Count -eq 0) { Write-Error -Category ObjectNotFound 'No objects found.' } } }
"@
    }
}

function New-Server {
    $script:Server = [ordered]@{
        version = '10.0.20348'; productType = 3; boot = [datetime] '2026-01-01T00:00:00Z'; label = 'S-1-16-12288'
        address = '172.31.16.10'
        offload = [ordered]@{ IpIPv4Enabled = 'RxTxEnabled'; TcpIPv4Enabled = 'RxTxEnabled'; UdpIPv4Enabled = 'TxEnabled' }
        features = [ordered]@{}; needsRestart = $false; access = [ordered]@{ RoutingStatus = 'Uninstalled'; VpnStatus = 'Uninstalled' }
        services = [ordered]@{ BFE = 'Auto Running'; MpsSvc = 'Auto Running'; IKEEXT = 'Manual Stopped'; PolicyAgent = 'Manual Running' }
        firewalls = [ordered]@{ Domain = 'True'; Private = 'True'; Public = 'True' }; localRules = [ordered]@{ firewall = 'NotConfigured'; ipsec = 'NotConfigured' }; policyRules = @()
        forwarding = 'Disabled'
        exemptions = 'NotConfigured'; machines = ''; users = 'O:LSD:(A;;CC;;;BA)'; policyExemptions = $null
        throughNat = 'NotConfigured'; idleSeconds = '300'; openings = [ordered]@{}
        mainMode = $null; quickMode = $null; friendly = $false; rules = @(); inForce = $true; registry = [ordered]@{}
    }
    Clear-History
}
function Clear-History {
    $script:History = @{ calls = 0; failAt = 0; after = $false; arguments = @(); shutdowns = 0; unprotected = 0; parametersSeen = 0; netshSays = $null; acls = @{} }
}
function Get-Server { $script:Server }
function Get-History { $script:History }
function Get-Snapshot { ConvertTo-Json -InputObject $script:Server -Depth 9 -Compress }

# Counts a change, and fails the chosen one, before or after it has its effect.
function Invoke-Change([scriptblock] $Change) {
    $script:History.calls++
    $hit = $script:History.calls -eq $script:History.failAt
    if ($hit -and -not $script:History.after) { throw "the modelled server failed call $($script:History.calls)" }
    & $Change
    if ($hit) { throw "the modelled server failed after call $($script:History.calls)" }
}

$ciphers = @{ None = 0; DES = 2; DES3 = 6; AES128 = 65001; AES192 = 65002; AES256 = 65003; AESGCM128 = 65004; AESGCM192 = 65005; AESGCM256 = 65006 }
$hashes = @{ None = 0; MD5 = 2; SHA1 = 3; SHA256 = 65001; SHA384 = 65002; AESGMAC128 = 65003; AESGMAC192 = 65004; AESGMAC256 = 65005 }
# A crypto set as its CIM class documents it, or as the cmdlets' own parameters name things.
function Show-Set($Set) {
    if (-not $Set) { return }
    $proposals = @(foreach ($p in $Set.proposals) {
        if ($script:Server.friendly) { [pscustomobject] $p; continue }
        $raw = [ordered]@{ CipherAlgorithm = $ciphers[$p.Encryption] }
        if ($p.Contains('KeyExchange')) { $raw.GroupId = [int] $p.KeyExchange.Substring(2); $raw.HashAlgorithm = $hashes[$p.Hash] }
        else { $raw.Encapsulation = 2; $raw.HashAlgorithmESP = $hashes[$p.ESPHash]; $raw.MaxLifetimeMinutes = $p.MaxMinutes; $raw.MaxLifetimeKilobytes = $p.MaxKiloBytes }
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
    [pscustomobject] @{ Name = $Rule.Name; Direction = $numbers[$Rule.Direction]; Action = $numbers[$Rule.Action]; Enabled = $numbers[$Rule.Enabled] }
}
function Select-Known($p, [string[]] $Names) { $all = [ordered]@{}; foreach ($n in $Names) { $all[$n] = $p[$n] }; $all }
function Confirm-Default([string] $Name, $p, [string] $End) {
    if ($p.PolicyStore -ne 'PersistentStore') { throw "$Name outside the PersistentStore" }
    if ($p.ContainsKey('Name') -and $p.Name -ne "{E5A5D32A-4BCE-4e4d-B07F-4AB1BA7E5FE$End}") { throw "$Name is asked about another set" }
}

$models = @{
    'Get-NetIPAddress' = { param($p) if ($script:Server.address -in $p.IPAddress) { [pscustomobject] @{ IPAddress = $script:Server.address; InterfaceIndex = 7 } } }
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
        $rule = $script:Server.openings[$p.AssociatedNetFirewallRule.Name]
        [pscustomobject] @{ Protocol = $rule.Protocol; LocalPort = if ($rule.LocalPort) { $rule.LocalPort } else { 'Any' }; IcmpType = if ($rule.IcmpType) { $rule.IcmpType } else { 'Any' } } }
    'Get-NetFirewallAddressFilter' = { param($p)
        # Windows keeps networks with their masks.
        $from = @($script:Server.openings[$p.AssociatedNetFirewallRule.Name].RemoteAddress | ForEach-Object { $_ -replace '/16$', '/255.255.0.0' })
        [pscustomobject] @{ RemoteAddress = if ($from.Count -eq 1) { $from[0] } else { $from } } }
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
        if ($script:Server.access.RoutingStatus -eq 'Installed') { throw 'routing is still set up' }
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
    'Get-NetIPInterface' = { param($p) [pscustomobject] @{ InterfaceIndex = 7; Forwarding = $script:Server.forwarding } }
    'Set-NetIPInterface' = { param($p) Invoke-Change { $script:Server.forwarding = $p.Forwarding } }
    'New-NetIPsecMainModeCryptoProposal' = { param($p) , (Select-Known $p 'KeyExchange', 'Encryption', 'Hash') }
    'New-NetIPsecQuickModeCryptoProposal' = { param($p) , (Select-Known $p 'Encapsulation', 'ESPHash', 'Encryption', 'MaxMinutes', 'MaxKiloBytes') }
    'Get-NetIPsecMainModeCryptoSet' = { param($p) Confirm-Default 'Get' $p 1; Show-Set $script:Server.mainMode }
    'Get-NetIPsecQuickModeCryptoSet' = { param($p) Confirm-Default 'Get' $p 2; Show-Set $script:Server.quickMode }
    'New-NetIPsecMainModeCryptoSet' = { param($p) Confirm-Default 'New' $p 1; if ($script:Server.mainMode -or -not $p.Default) { throw 'the default set exists' }; Invoke-Change { $script:Server.mainMode = New-Set $null $p } }
    'New-NetIPsecQuickModeCryptoSet' = { param($p) Confirm-Default 'New' $p 2; if ($script:Server.quickMode -or -not $p.Default) { throw 'the default set exists' }; Invoke-Change { $script:Server.quickMode = New-Set $null $p } }
    'Set-NetIPsecMainModeCryptoSet' = { param($p) Confirm-Default 'Set' $p 1; if (-not $script:Server.mainMode) { throw 'no such set' }; Invoke-Change { $script:Server.mainMode = New-Set $script:Server.mainMode $p } }
    'Set-NetIPsecQuickModeCryptoSet' = { param($p) Confirm-Default 'Set' $p 2; if (-not $script:Server.quickMode) { throw 'no such set' }; Invoke-Change { $script:Server.quickMode = New-Set $script:Server.quickMode $p } }
    'Remove-NetIPsecMainModeCryptoSet' = { param($p) Confirm-Default 'Remove' $p 1; if (-not $script:Server.mainMode) { throw 'no such set' }; Invoke-Change { $script:Server.mainMode = $null } }
    'Remove-NetIPsecQuickModeCryptoSet' = { param($p) Confirm-Default 'Remove' $p 2; if (-not $script:Server.quickMode) { throw 'no such set' }; Invoke-Change { $script:Server.quickMode = $null } }
    'Get-NetIPsecRule' = { param($p)
        if ($p.PolicyStore -eq 'ActiveStore' -and -not $script:Server.inForce) { return }
        if ($p.PolicyStore -eq 'RSOP') { foreach ($name in $script:Server.policyRules) { [pscustomobject] @{ DisplayName = $name } }; return }
        foreach ($rule in $script:Server.rules) { if (-not $p.ContainsKey('DisplayName') -or $rule.name -in $p.DisplayName) { [pscustomobject] @{ DisplayName = $rule.name; Enabled = $rule.enable; RemoteTunnelEndpoint = @($rule.remotetunnelendpoint) } } } }
}
function Invoke-Model([string] $Command, $Parameters) {
    if (-not $models.ContainsKey($Command)) { throw "No model for $Command" }
    & $models[$Command] $Parameters
}

# netsh, with its rule line's parameters as the guide lists them.
$ruleKeys = 'name', 'enable', 'profile', 'type', 'mode', 'localtunnelendpoint', 'remotetunnelendpoint', 'endpoint1', 'endpoint2', 'protocol',
    'action', 'auth1', 'auth1psk', 'qmsecmethods', 'exemptipsecprotectedconnections', 'applyauthz', 'qmpfs'
function Invoke-NetshLine([string] $Line) {
    $script:Line = $Line
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
function Invoke-NetshModel([object[]] $Arguments) {
    $script:History.arguments += $Arguments -join ' '
    $lines = @($Arguments -join ' ')
    if ($Arguments[0] -eq '-f') {
        if ($script:History.acls[$Arguments[1]] -ne 'O:BAG:BAD:P(A;;FA;;;SY)(A;;FA;;;BA)') { $script:History.unprotected++ }
        if (Test-Path (Join-Path (Split-Path $Arguments[1]) 'parameters.json')) { $script:History.parametersSeen++ }
        $lines = [IO.File]::ReadAllText($Arguments[1]) -split "`r`n" | Where-Object { $_ }
    }
    $code = 0
    foreach ($line in $lines) { $code = [Math]::Max($code, (Invoke-NetshLine $line)) }
    if ($script:History.netshSays) { $script:History.netshSays; $lines; $code = 1 }
    $global:LASTEXITCODE = $code
}

function Get-CimModel([string] $ClassName, [string] $Filter) {
    if ($ClassName -eq 'Win32_OperatingSystem') { return [pscustomobject] @{ Version = $script:Server.version; ProductType = $script:Server.productType; LastBootUpTime = $script:Server.boot } }
    if ($ClassName -ne 'Win32_Service' -or $Filter -notmatch "^Name='(\w+)'$") { throw "No model for $ClassName where $Filter" }
    $service = $script:Server.services[$Matches[1]]
    if ($service) { [pscustomobject] @{ Name = $Matches[1]; StartMode = $service.Split(' ')[0]; State = $service.Split(' ')[1] } }
}
function Set-ServiceModel([string] $Name, [string] $StartMode, [string] $State) {
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
    if ($script:Server.registry.Contains($Name)) { [pscustomobject] @{ $Name = $script:Server.registry[$Name] } }
}
function Set-RegistryModel([string] $Path, [string] $Name, $Value) {
    Confirm-Registry $Path $Name
    Invoke-Change {
        $script:Server.registry[$Name] = $Value
        $script:Server.registry = Get-Sorted $script:Server.registry }
}

function Remove-RegistryModel([string] $Path, [string] $Name) {
    Confirm-Registry $Path $Name
    if (-not $script:Server.registry.Contains($Name)) { throw "no property $Name" }
    Invoke-Change { $script:Server.registry.Remove($Name) }
}

# Folders and their rights: .NET on Linux has none, so the objects that the scripts make are stand-ins too.
function New-AclModel {
    $acl = [pscustomobject] @{ sddl = '' }
    $acl | Add-Member ScriptMethod SetSecurityDescriptorSddlForm { $this.sddl = $args[0] }
    $acl | Add-Member ScriptMethod GetSecurityDescriptorSddlForm { $this.sddl.Substring(0, 4) }
    $acl
}
function New-FolderModel([string] $Path) {
    $folder = [pscustomobject] @{ path = $Path; acls = $script:History.acls; Exists = [IO.Directory]::Exists($Path) }
    $folder | Add-Member ScriptMethod Create { [void] [IO.Directory]::CreateDirectory($this.path); $this.acls[$this.path] = $args[0].sddl }
    $folder | Add-Member ScriptMethod SetAccessControl { $this.acls[$this.path] = $args[0].sddl }
    $folder | Add-Member ScriptMethod GetAccessControl { [pscustomobject] @{ sddl = $this.acls[$this.path] } | Add-Member ScriptMethod GetSecurityDescriptorSddlForm { "$($this.sddl)".PadRight(4).Substring(0, 4) } -PassThru }
    $folder
}
function Set-AclModel([string] $Path, $Acl) { $script:History.acls[$Path] = $Acl.sddl }

# Defines all of it where the scripts look: as global functions, which go before cmdlets and programs.
function Install-Stand([string] $Data) {
    foreach ($one in Get-CommandText $Data) { . ([scriptblock]::Create($one)) }
    $texts = @(
        'function global:Get-CimInstance { [CmdletBinding()] param($ClassName, $Filter) Get-CimModel $ClassName $Filter }'
        'function global:Set-Service { [CmdletBinding()] param($Name, [ValidateSet("Automatic", "Manual", "Disabled")] $StartupType) Set-ServiceModel $Name ($StartupType -replace "^Automatic$", "Auto") "" }'
        'function global:Stop-Service { [CmdletBinding()] param($Name, [switch] $Force) Set-ServiceModel $Name "" Stopped }'
        'function global:Start-Service { [CmdletBinding()] param($Name) Set-ServiceModel $Name "" Running }'
        'function global:Import-Module { [CmdletBinding()] param($Name) if ($Name -ne "RemoteAccess") { throw "no module $Name" } }'
        'function global:Start-Sleep { [CmdletBinding()] param($Seconds) }'
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
        'function global:netsh.exe { Invoke-NetshModel @($args | ForEach-Object { $_ }) }'
        'function global:whoami.exe { "Mandatory Label\\x Label $((Get-Server).label) Mandatory group" }'
        'function global:shutdown.exe { (Get-History).shutdowns++; $global:LASTEXITCODE = 0 }'
    )
    foreach ($one in $texts) { . ([scriptblock]::Create($one)) }
}
New-Server
Export-ModuleMember -Function *
