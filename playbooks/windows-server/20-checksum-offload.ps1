# Turns checksum offload off on the adapter that holds the private address; takes effect with the restart at the end.
#
# Guide, "Configure your Windows instance": Device Manager, network adapter, Advanced: IPv4 Checksum Offload, TCP Checksum
# Offload (IPv4), UDP Checksum Offload (IPv4): Disabled. For servers on EC2.
# INVARIANT: the adapter is not restarted here, which would end the session that runs this (-NoRestart).
param($Parameters)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

# An adapter that cannot offload one of them has no value for it, which is as good as disabled.
function Get-Direction($Value) {
    if ("$Value" -match 'Enabled$' -or "$Value" -in '1', '2', '3') { "$Value" } else { 'Disabled' }
}

$address = Get-NetIPAddress -IPAddress $Parameters.privateIp
$adapter = Get-NetAdapter -InterfaceIndex $address.InterfaceIndex
$wanted = [ordered]@{ ipv4 = 'Disabled'; tcp4 = 'Disabled'; udp4 = 'Disabled' }
Complete-Step -SaveAs 'checksum-offload' -Reboot -Wanted $wanted -Read {
    $offload = Get-NetAdapterChecksumOffload -Name $adapter.Name
    [ordered]@{
        adapter = $adapter.Name
        ipv4 = Get-Direction $offload.IpIPv4Enabled
        tcp4 = Get-Direction $offload.TcpIPv4Enabled
        udp4 = Get-Direction $offload.UdpIPv4Enabled
    }
} -Set {
    $these = @{ Name = $adapter.Name; IpIPv4 = $true; TcpIPv4 = $true; UdpIPv4 = $true; NoRestart = $true }
    Disable-NetAdapterChecksumOffload @these
}
