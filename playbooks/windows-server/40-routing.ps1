# Sets up routing and remote access for LAN routing, starts it, now and at every boot, and forwards on the adapter.
#
# Guide, step 3 "Configure and enable Routing and Remote Access": Custom configuration, LAN routing, Start service.
# Install-RemoteAccess -VpnType RoutingOnly is the same through a command; on Windows Server 2012 R2 netsh ras is.
param($Parameters, [switch] $Undo)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

Import-Module -Name RemoteAccess
$index = (Get-NetIPAddress -IPAddress $Parameters.privateIp).InterfaceIndex
$wanted = [ordered]@{ routing = 'Installed'; start = 'Auto'; state = 'Running'; forwarding = 'Enabled' }
Complete-Step -SaveAs 'routing' -Wanted $wanted -Read {
    $service = Get-CimInstance -ClassName Win32_Service -Filter "Name='RemoteAccess'"
    [ordered]@{
        routing = "$((Get-RemoteAccess -ErrorAction SilentlyContinue).RoutingStatus)" -replace '^$', 'Uninstalled'
        start = "$($service.StartMode)"
        state = "$($service.State)"
        forwarding = "$((Get-NetIPInterface -InterfaceIndex $index -AddressFamily IPv4).Forwarding)"
    }
} -Set {
    $isNew = [version] (Get-CimInstance -ClassName Win32_OperatingSystem).Version -ge [version] '10.0'
    if ($put.state -and $put.state -ne 'Running') { Stop-Service -Name RemoteAccess -Force }
    if ($put.routing -eq 'Installed') {
        if ($isNew) {
            Install-RemoteAccess -VpnType RoutingOnly
        } else {
            Invoke-Netsh @('ras', 'set', 'type', 'ipv4rtrtype=lanonly', 'ipv6rtrtype=none', 'rastype=none') $Parameters
            Invoke-Netsh @('ras', 'set', 'conf', 'confstate=enabled') $Parameters
        }
    } elseif ($put.Contains('routing')) {
        if ($isNew) { Uninstall-RemoteAccess -Force } else { Invoke-Netsh @('ras', 'set', 'conf', 'confstate=disabled') $Parameters }
    }
    if ($put.start) { Set-Service -Name RemoteAccess -StartupType ($put.start -replace '^Auto$', 'Automatic') }
    if ($put.state -eq 'Running') { Start-Service -Name RemoteAccess }
    if ($put.forwarding) { Set-NetIPInterface -InterfaceIndex $index -AddressFamily IPv4 -Forwarding $put.forwarding }
}
