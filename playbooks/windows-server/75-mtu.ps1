# Packets of the adapter are no longer than those of the Internet: behind a tunnel nobody says when one is too long.
#
# Beyond the guide: AWS, "Best practices for an AWS Site-to-Site VPN customer gateway device" (no path MTU discovery over the
# tunnels). Adapters of EC2 start with 9001 bytes. What hosts behind the server should use for TCP is told by cgw.
param($Parameters, [switch] $Undo)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

if (Test-Untouched 'mtu') { return New-Outcome $null $null $false $false }
$index = Get-AdapterIndex
if ($Undo -and -not $index) { return New-GoneOutcome }
$is = (Get-NetIPInterface -InterfaceIndex $index -AddressFamily IPv4).NlMtu
# A smaller one is somebody's choice.
$wanted = [ordered]@{ mtu = "$([Math]::Min(1500, $is))" }
Complete-Step -SaveAs 'mtu' -Wanted $wanted -Read {
    [ordered]@{ mtu = "$((Get-NetIPInterface -InterfaceIndex $index -AddressFamily IPv4).NlMtu)" }
} -Set {
    Set-NetIPInterface -InterfaceIndex $index -AddressFamily IPv4 -NlMtuBytes ([int] $put.mtu)
}
