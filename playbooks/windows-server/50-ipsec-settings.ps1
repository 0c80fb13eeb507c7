# Sets the IPsec settings of the whole server: ICMP is not exempt, and tunnels need no authorization.
#
# Guide, step 4 "Set up the tunnel", Windows Firewall properties, IPsec Settings: "Exempt ICMP from IPsec: No (default)",
# "IPsec tunnel authorization: None".
param($Parameters)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

# Exemptions are flags: neighbour discovery 1, ICMP 2, router discovery 4, DHCP 8 ([MS-FASP] 2.2.39).
function Get-Exemption($Setting) {
    $value = "$($Setting.Exemptions)"
    if ($value -match '^\d+\z') {
        $bits = [int] $value
        $names = [ordered]@{ 'NeighborDiscovery' = 1; 'Icmp' = 2; 'RouterDiscovery' = 4; 'Dhcp' = 8 }
        $value = @($names.Keys | Where-Object { $bits -band $names[$_] }) -join ','
    }
    @($value -split '[,\s]+' | Where-Object { $_ } | Sort-Object) -join ','
}

# No authorization is told in three ways, depending on who wrote it.
function Get-Authorization([string] $Value) {
    if ($Value -in '', 'None', 'NotConfigured') { 'None' } else { $Value }
}

$wanted = [ordered]@{ exemptions = 'Dhcp,NeighborDiscovery'; machines = 'None'; users = 'None' }
$outcome = Complete-Step -SaveAs 'ipsec-settings' -Wanted $wanted -Read {
    $setting = Get-NetFirewallSetting -PolicyStore PersistentStore
    [ordered]@{
        exemptions = Get-Exemption $setting
        machines = Get-Authorization "$($setting.RemoteMachineTunnelAuthorizationList)"
        users = Get-Authorization "$($setting.RemoteUserTunnelAuthorizationList)"
    }
} -Set {
    Set-NetFirewallSetting -PolicyStore PersistentStore -Exemptions @('NeighborDiscovery', 'Dhcp')
    Set-NetFirewallSetting -PolicyStore PersistentStore -RemoteMachineTunnelAuthorizationList None
    Set-NetFirewallSetting -PolicyStore PersistentStore -RemoteUserTunnelAuthorizationList None
}
if ((Get-Exemption (Get-NetFirewallSetting -PolicyStore ActiveStore)) -match 'Icmp') {
    throw 'ICMP is exempt from IPsec all the same: a group policy says so'
}
$outcome
