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
    if ([version] $System.Version -lt [version] '6.3') { "Windows $($System.Version) is older than Windows Server 2012 R2 (6.3)" }
    if ($System.ProductType -eq 1) { 'this is not a server edition of Windows' }
    if ($System.ProductType -eq 2) { 'the server is a domain controller: routing and remote access do not belong on one' }
    if (-not $Adapter) { "no network adapter has the address $($Parameters.privateIp)" }

    foreach ($name in 'BFE', 'MpsSvc', 'IKEEXT', 'PolicyAgent') {
        $service = Get-CimInstance -ClassName Win32_Service -Filter "Name='$name'"
        if (-not $service) { "the service $name does not exist" }
        elseif ($service.StartMode -eq 'Disabled') { "the service $name is disabled" }
        elseif ($name -in 'BFE', 'MpsSvc' -and $service.State -ne 'Running') { "the service $name does not run" }
    }
    foreach ($firewall in Get-NetFirewallProfile -PolicyStore ActiveStore) {
        if ("$($firewall.Enabled)" -notin 'True', '1') {
            "Windows Firewall is off for the profile $($firewall.Name): the rules of the tunnels would not apply"
        }
        # Microsoft, "Set-NetFirewallProfile": what a group policy allows of the rules that are set on the server itself.
        if ("$($firewall.AllowLocalIPsecRules)" -in 'False', '0') {
            "a group policy does not let the server's own IPsec rules apply in the profile $($firewall.Name)"
        }
        if ("$($firewall.AllowLocalFirewallRules)" -in 'False', '0') {
            "a group policy does not let the server's own firewall rules apply in the profile $($firewall.Name)"
        }
    }
    $policies = @(Get-NetIPsecRule -PolicyStore RSOP -ErrorAction SilentlyContinue)
    if ($policies.Count -gt 0) {
        "a group policy sets IPsec rules itself ($(@($policies | ForEach-Object { $_.DisplayName } | Select-Object -First 3) -join ', '))"
    }
    if (Get-Command -Name Get-RemoteAccess -ErrorAction SilentlyContinue) {
        $access = Get-RemoteAccess -ErrorAction SilentlyContinue
        $modes = 'DAStatus', 'VpnStatus', 'VpnS2SStatus', 'SstpProxyStatus'
        $other = @($modes | Where-Object { "$($access.$_)" -eq 'Installed' })
        if ($other.Count -gt 0 -and "$($access.RoutingStatus)" -ne 'Installed') { "routing and remote access is already set up otherwise ($($other -join ', '))" }
    }
}

# Endpoint 2 is what the rules of the tunnels require IPsec from: whoever sits inside it is cut off from this server.
function Get-EndpointProblem {
    $cloud = $Parameters.cloudCidr
    if ([int] $cloud.Split('/')[1] -lt 8) { "Endpoint 2 ($cloud) is far too wide" }
    if (Test-NetworkOverlap $cloud $Parameters.siteCidr) { "Endpoint 2 ($cloud) overlaps Endpoint 1 ($($Parameters.siteCidr))" }
    if (Test-NetworkOverlap $cloud '169.254.0.0/16') { "Endpoint 2 ($cloud) covers link-local addresses" }
    if (Test-NetworkOverlap $cloud "$($Parameters.privateIp)/32") { "Endpoint 2 ($cloud) covers the server's own address" }
    foreach ($tunnel in $Parameters.tunnels) {
        if (Test-NetworkOverlap $cloud "$($tunnel.outsideIp)/32") { "Endpoint 2 ($cloud) covers the tunnel address $($tunnel.outsideIp)" }
    }
    # Who is connected now over SSH, remote desktop or WinRM, whoever that is.
    $sessions = @(Get-NetTCPConnection -State Established -LocalPort $Parameters.adminPorts -ErrorAction SilentlyContinue)
    foreach ($client in @($sessions | ForEach-Object { "$($_.RemoteAddress)" -replace '^::ffff:', '' } | Sort-Object -Unique)) {
        if ($null -ne (ConvertTo-AddressNumber $client) -and (Test-NetworkOverlap $cloud "$client/32")) {
            "Endpoint 2 ($cloud) covers $client, from where somebody is connected: that session would be cut off"
        }
    }
}

# Two rules for one tunnel address, or for the same networks, would match the same traffic.
function Get-RuleProblem {
    if ($Parameters.replaceRules) { return }
    $addresses = @($Parameters.tunnels | ForEach-Object { $_.outsideIp })
    foreach ($rule in Get-ForeignRule) {
        if ("$($rule.Enabled)" -notin 'True', '1') { continue }
        $endpoint = Get-TunnelEndpoint $rule
        $what = if ($endpoint -in $addresses) { "leads to the tunnel address $endpoint already" } else { "leads the same networks through a tunnel to $endpoint" }
        "the rule '$($rule.DisplayName)' $what`: disable it in Windows Defender Firewall with Advanced Security, Connection Security Rules, or have that done with --replace-rules"
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
    $problems = @(Get-ServerProblem $system $adapter) + @(Get-EndpointProblem) + @(Get-RuleProblem)
}
if ($problems.Count -gt 0) { throw ($problems -join '; ') }
$found = [ordered]@{ windows = "$($system.Version)"; adapter = "$($adapter.Name)"; description = "$($adapter.InterfaceDescription)" }
New-Outcome $found $found $false $false
