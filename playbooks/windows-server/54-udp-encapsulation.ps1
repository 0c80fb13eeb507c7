# Lets Windows use IPsec with peers when both ends are behind a translation of addresses; takes effect with a restart.
#
# Beyond the guide: a server on EC2 has its public address by translation, so all of its traffic goes through UDP 4500, and
# AWS begins key exchanges too. Microsoft, KB 926179: PolicyAgent, DWORD AssumeUDPEncapsulationContextOnSendRule = 2.
param($Parameters, [switch] $Undo)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

Complete-RegistryValue 'udp-encapsulation' 'HKLM:\SYSTEM\CurrentControlSet\Services\PolicyAgent' 'AssumeUDPEncapsulationContextOnSendRule' 2
