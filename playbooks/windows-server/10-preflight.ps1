# Refuses a server that cannot become a gateway, or that would be cut off by becoming one. Changes nothing.
#
# Guide (AWS, "Configure Windows Server as a Site-to-Site VPN customer gateway device"): Windows Server 2012 R2 or later;
# the adapter that holds the private address (local tunnel endpoint); the warning that a rule without a right Endpoint 2
# takes away the way to the server.
param($Parameters, [switch] $Undo)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

function Get-ServerProblem($System, $Adapter) {
    # S-1-16-12288 and S-1-16-16384 are the mandatory labels "high" and "system".
    if (-not (@(& whoami.exe /groups) -match 'S-1-16-(12288|16384)\b')) { 'the session is not elevated: sign in as an administrator' }
    if ([version] $System.Version -lt [version] '6.3') { "Windows $($System.Version) is older than Windows Server 2012 R2 (6.3): take a server with a newer one" }
    if ($System.ProductType -eq 1) { 'this is not a server edition of Windows: take a Windows Server' }
    if ($System.ProductType -eq 2) { 'the server is a domain controller: routing and remote access do not belong on one, take another server' }
    if (-not $Adapter) { "no network adapter has the address $($Parameters.privateIp): give it to one, or name the right one with --private-ip" }

    foreach ($name in 'BFE', 'MpsSvc', 'IKEEXT', 'PolicyAgent') {
        $service = Get-CimInstance -ClassName Win32_Service -Filter "Name='$name'"
        if (-not $service) { "the service $name does not exist: Windows needs it for IPsec, repair it" }
        elseif ($service.StartMode -eq 'Disabled') { "the service $name is disabled: set its start type to manual or automatic" }
        elseif ($name -in 'BFE', 'MpsSvc' -and $service.State -ne 'Running') { "the service $name does not run: start it" }
    }
    foreach ($firewall in Get-NetFirewallProfile -PolicyStore ActiveStore) {
        if (-not (Test-Enabled $firewall)) {
            "Windows Firewall is off for the profile $($firewall.Name), where the rules of the tunnels would not apply: switch it on " +
                '(Set-NetFirewallProfile -Enabled True) once its rules let you in'
        }
        # Microsoft, "Set-NetFirewallProfile": what a group policy allows of the rules that are set on the server itself.
        if ("$($firewall.AllowLocalIPsecRules)" -in 'False', '0') {
            "a group policy does not let the server's own IPsec rules apply in the profile $($firewall.Name): have AllowLocalIPsecRules allowed for this server"
        }
        if ("$($firewall.AllowLocalFirewallRules)" -in 'False', '0') {
            "a group policy does not let the server's own firewall rules apply in the profile $($firewall.Name): have AllowLocalFirewallRules allowed for this server"
        }
    }
    $policies = @(Get-NetIPsecRule -PolicyStore RSOP -ErrorAction SilentlyContinue)
    if ($policies.Count -gt 0) {
        "a group policy sets IPsec rules itself ($(@($policies | ForEach-Object { $_.DisplayName } | Select-Object -First 3) -join ', ')): have this server excepted from it"
    }
    if (Get-Command -Name Get-RemoteAccess -ErrorAction SilentlyContinue) {
        $access = Get-RemoteAccess -ErrorAction SilentlyContinue
        $other = @(Get-OtherUse $access)
        if ($other.Count -gt 0 -and "$($access.RoutingStatus)" -ne 'Installed') {
            "routing and remote access is already set up otherwise ($($other -join ', ')): add LAN routing to it yourself, or take another server"
        }
    }
}

# Endpoint 2 is what the rules of the tunnels require IPsec from: whoever sits inside it is cut off from this server.
function Get-EndpointProblem($Address) {
    $cloud = $Parameters.cloudCidr
    $subnet = if ($Address) { Get-Network $Address.IPAddress $Address.PrefixLength }
    $mend = 'name the network of the VPC, and nothing more, with --cloud-cidr'
    if ([int] $cloud.Split('/')[1] -lt 8) { "Endpoint 2 ($cloud) is far too wide: $mend" }
    if (Test-NetworkOverlap $cloud $Parameters.siteCidr) { "Endpoint 2 ($cloud) overlaps Endpoint 1 ($($Parameters.siteCidr)): $mend" }
    if (Test-NetworkOverlap $cloud '169.254.0.0/16') { "Endpoint 2 ($cloud) covers link-local addresses: $mend" }
    if (Test-NetworkOverlap $cloud "$($Parameters.privateIp)/32") { "Endpoint 2 ($cloud) covers the server's own address: $mend" }
    elseif ($subnet -and (Test-NetworkOverlap $cloud $subnet)) {
        "Endpoint 2 ($cloud) covers a part of the server's own subnet ($subnet), which would be cut off: $mend"
    }
    foreach ($tunnel in $Parameters.tunnels) {
        if (Test-NetworkOverlap $cloud "$($tunnel.outsideIp)/32") { "Endpoint 2 ($cloud) covers the tunnel address $($tunnel.outsideIp): $mend" }
    }
    # Who is connected now over SSH, remote desktop or WinRM, whoever that is.
    $sessions = @(Get-NetTCPConnection -State Established -LocalPort $Parameters.adminPorts -ErrorAction SilentlyContinue)
    foreach ($client in @($sessions | ForEach-Object { "$($_.RemoteAddress)" -replace '^::ffff:', '' } | Sort-Object -Unique)) {
        if ($null -ne (ConvertTo-AddressNumber $client) -and (Test-NetworkOverlap $cloud "$client/32")) {
            "Endpoint 2 ($cloud) covers $client, from where somebody is connected: that session would be cut off: connect from elsewhere, or by Systems Manager"
        }
    }
}

# Two rules for one tunnel address, or for the same networks, would match the same traffic. One that carries more than that, to
# somewhere else, is not switched off for it, whatever was allowed; nor is that of another stack.
function Get-RuleProblem {
    $where = 'Windows Defender Firewall with Advanced Security, Connection Security Rules'
    foreach ($one in Get-ForeignRule) {
        if (-not $one.isOn -or ($Parameters.replaceRules -and -not $one.isBeyond -and -not $one.stack)) { continue }
        $what = if ($one.isToOurs) { "leads to the tunnel address $($one.endpoint) already" } else { "leads these networks through a tunnel to $($one.endpoint) ($($one.networks))" }
        if ($one.stack) { "the rule '$($one.rule.DisplayName)' $what`: it is that of the stack $($one.stack) on this server, take that one down first" }
        elseif ($one.isBeyond) { "the rule '$($one.rule.DisplayName)' $what, and more than these: narrow or disable it yourself in $where" }
        else { "the rule '$($one.rule.DisplayName)' $what`: disable it in $where, or have that done with --replace-rules" }
    }
}

if ($Undo) { return New-Outcome $null $null $false $false }
$problems = @(Get-ParameterProblem $Parameters)
if ($problems.Count -eq 0) {
    $system = Get-CimInstance -ClassName Win32_OperatingSystem
    $address = @(Get-NetIPAddress -IPAddress $Parameters.privateIp -ErrorAction SilentlyContinue)
    $adapter = $null
    if ($address.Count -eq 1) {
        $adapter = Get-NetAdapter -InterfaceIndex $address[0].InterfaceIndex -ErrorAction SilentlyContinue
    }
    $problems = @(Get-ServerProblem $system $adapter) + @(Get-EndpointProblem $address[0]) + @(Get-RuleProblem)
}
if ($problems.Count -gt 0) { throw ($problems -join '; ') }
$found = [ordered]@{ windows = "$($system.Version)"; adapter = "$($adapter.Name)"; description = "$($adapter.InterfaceDescription)" }
New-Outcome $found $found $false $false
