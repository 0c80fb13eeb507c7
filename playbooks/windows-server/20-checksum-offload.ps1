# Turns checksum offload off on the adapter that holds the private address; takes effect with the restart at the end.
#
# Guide, "Configure your Windows instance": Device Manager, network adapter, Advanced: IPv4 Checksum Offload, TCP Checksum
# Offload (IPv4), UDP Checksum Offload (IPv4): Disabled. For servers on EC2.
# INVARIANT: the adapter is not restarted here, which would end the session that runs this (-NoRestart).
param($Parameters, [switch] $Undo)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

# An adapter that cannot offload one of them has no value for it, which is as good as disabled.
$directionNames = @{ '1' = 'TxEnabled'; '2' = 'RxEnabled'; '3' = 'RxTxEnabled' }
function Get-Direction($Value) {
    if ("$Value" -in $directionNames.Values) { "$Value" }
    elseif ($directionNames.ContainsKey("$Value")) { $directionNames["$Value"] }
    else { 'Disabled' }
}

if (Test-Untouched 'checksum-offload') { return New-Outcome $null $null $false $false }
$index = Get-AdapterIndex
if ($Undo -and -not $index) { return New-GoneOutcome }
$adapter = Get-NetAdapter -InterfaceIndex $index
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
    $these = @{ Name = $adapter.Name; NoRestart = $true }
    if ($put.ipv4) { $these['IpIPv4Enabled'] = $put.ipv4 }
    if ($put.tcp4) { $these['TcpIPv4Enabled'] = $put.tcp4 }
    if ($put.udp4) { $these['UdpIPv4Enabled'] = $put.udp4 }
    Set-NetAdapterChecksumOffload @these
}
