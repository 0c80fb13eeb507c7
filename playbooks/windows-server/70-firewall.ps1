# Lets through Windows Firewall what comes from the other end: key exchange from both tunnel addresses, ping from the VPC.
#
# Beyond the guide, whose firewall is the security group: AWS, "Firewall rules for an AWS Site-to-Site VPN customer gateway
# device", UDP 500 and UDP 4500 from both tunnel addresses. The ping is what proves the tunnel from the VPC's side.
param($Parameters, [switch] $Undo)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

# Values that the CIM class MSFT_NetFirewallRule documents as numbers.
$directionNames = @{ '1' = 'Inbound'; '2' = 'Outbound' }
$actionNames = @{ '2' = 'Allow'; '4' = 'Block' }
$enabledNames = @{ '1' = 'True'; '2' = 'False' }
# All profiles have two numbers, by who wrote the rule.
$profileNames = @{ '0' = 'Any'; '2147483647' = 'Any' }
$protocolNames = @{ '1' = 'ICMPv4'; '17' = 'UDP' }

$cloud = $Parameters.cloudCidr
$openings = [ordered]@{
    ike = @{ DisplayName = 'cgw: key exchange with both tunnels'; Protocol = 'UDP'; LocalPort = @('500', '4500')
        RemoteAddress = @($Parameters.tunnels | ForEach-Object { $_.outsideIp }) }
    ping = @{ DisplayName = 'cgw: ping from the VPC'; Protocol = 'ICMPv4'; IcmpType = @('8'); RemoteAddress = @($cloud) }
}

function Format-Opening($Protocol, $Ports, $Types, $From) {
    $what = @($Ports) + @($Types) | Where-Object { $_ -and $_ -ne 'Any' } | Sort-Object
    $addresses = @($From | ForEach-Object { ConvertTo-Prefix $_ } | Sort-Object)
    "Inbound Allow True Any $Protocol $($what -join ',') from $($addresses -join ',')"
}

function Get-OpeningName([string] $Opening) { "cgw-$($Parameters.stack)-$Opening" }

function Get-Opening([string] $Name) {
    $rules = @(Get-NetFirewallRule -Name $Name -PolicyStore PersistentStore -ErrorAction SilentlyContinue)
    if ($rules.Count -eq 0) { return 'absent' }
    $ports = Get-NetFirewallPortFilter -AssociatedNetFirewallRule $rules[0]
    $from = Get-NetFirewallAddressFilter -AssociatedNetFirewallRule $rules[0]
    $is = @((Get-NamedField $rules[0] @('Direction') $directionNames), (Get-NamedField $rules[0] @('Action') $actionNames),
        (Get-NamedField $rules[0] @('Enabled') $enabledNames), (Get-NamedField $rules[0] @('Profile', 'Profiles') $profileNames)) -join ' '
    $protocol = Get-NamedField $ports @('Protocol') $protocolNames
    (Format-Opening $protocol $ports.LocalPort $ports.IcmpType $from.RemoteAddress) -replace '^Inbound Allow True Any', $is
}

$wanted = [ordered]@{}
foreach ($one in $openings.Keys) {
    $opening = $openings[$one]
    $wanted[$one] = Format-Opening $opening.Protocol $opening.LocalPort $opening.IcmpType $opening.RemoteAddress
}
Complete-Step -SaveAs 'firewall' -Wanted $wanted -Read {
    $is = [ordered]@{}
    foreach ($one in $openings.Keys) { $is[$one] = Get-Opening (Get-OpeningName $one) }
    $is
} -Set {
    foreach ($one in $put.Keys) {
        $opening = $openings[$one]
        if ($was[$one] -ne 'absent') { Remove-NetFirewallRule -Name (Get-OpeningName $one) -PolicyStore PersistentStore }
        if ($put[$one] -eq 'absent') { continue }
        New-NetFirewallRule -Name (Get-OpeningName $one) -PolicyStore PersistentStore -Direction Inbound -Action Allow `
            -Enabled True -Profile Any @opening
    }
}
