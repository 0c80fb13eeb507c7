# Turns dead gateway detection on; takes effect with a restart.
#
# Guide, step 5 "Enable dead gateway detection": HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters, DWORD
# EnableDeadGWDetect = 1, then restart. Microsoft documents the value for choosing among default gateways: it is set because
# the guide asks, and is not what moves traffic from one tunnel to the other.
param($Parameters, [switch] $Undo)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

Complete-RegistryValue 'dead-gateway' 'HKLM:\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters' 'EnableDeadGWDetect' 1
