# Sets the IPsec settings of the whole server: ICMP is not exempt, tunnels need no authorization, either end may be behind
# a translation of addresses, and a tunnel stays for an hour without traffic.
#
# Guide, step 4 "Set up the tunnel", Windows Firewall properties, IPsec Settings: "Exempt ICMP from IPsec: No (default)",
# "IPsec tunnel authorization: None". The other two go beyond it: Microsoft, "Set-NetFirewallSetting", by default Windows
# refuses to answer through a translation of addresses (-AllowIPsecThroughNAT), and drops what is idle for five minutes
# (-MaxSAIdleTimeSeconds, at most 3600).
param($Parameters, [switch] $Undo)
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

$throughNames = @{ '0' = 'None'; '1' = 'Server'; '2' = 'Both' }
$wanted = [ordered]@{ exemptions = 'Dhcp,NeighborDiscovery'; machines = 'None'; users = 'None'; throughNat = 'Both'; idleSeconds = '3600' }
$outcome = Complete-Step -SaveAs 'ipsec-settings' -Wanted $wanted -Read {
    $setting = Get-NetFirewallSetting -PolicyStore PersistentStore
    [ordered]@{
        exemptions = Get-Exemption $setting
        machines = Get-Authorization "$($setting.RemoteMachineTunnelAuthorizationList)"
        users = Get-Authorization "$($setting.RemoteUserTunnelAuthorizationList)"
        throughNat = Get-NamedField $setting @('AllowIPsecThroughNAT') $throughNames
        idleSeconds = "$($setting.MaxSAIdleTimeSeconds)" -replace '^(NotConfigured|0|)$', '300'
    }
} -Set {
    $these = @{}
    if ($put.exemptions) { $these['Exemptions'] = @($put.exemptions.Split(',')) }
    if ($put.machines) { $these['RemoteMachineTunnelAuthorizationList'] = $put.machines }
    if ($put.users) { $these['RemoteUserTunnelAuthorizationList'] = $put.users }
    if ($put.throughNat) { $these['AllowIPsecThroughNAT'] = $put.throughNat }
    if ($put.idleSeconds) { $these['MaxSAIdleTimeSeconds'] = [int] $put.idleSeconds }
    Set-NetFirewallSetting -PolicyStore PersistentStore @these
}
if (-not $Undo -and (Get-Exemption (Get-NetFirewallSetting -PolicyStore ActiveStore)) -match 'Icmp') {
    throw 'ICMP is exempt from IPsec all the same: a group policy says so'
}
$outcome
