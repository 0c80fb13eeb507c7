# Sets up routing and remote access for LAN routing, starts it, now and at every boot, and forwards on the adapter.
#
# Guide, step 3 "Configure and enable Routing and Remote Access": Custom configuration, LAN routing, Start service.
# Install-RemoteAccess -VpnType RoutingOnly is the same through a command; on Windows Server 2012 R2 netsh ras is.
param($Parameters, [switch] $Undo)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

if (Test-Untouched 'routing') { return New-Outcome $null $null $false $false }
$index = Get-AdapterIndex
if ($Undo -and -not $index) { return New-GoneOutcome }
# Where an undo has removed the role already, routing is gone with it; the forwarding is the adapter's.
$hasRole = "$((Get-WindowsFeature -Name RSAT-RemoteAccess-PowerShell).InstallState)" -eq 'Installed'
if ($hasRole -or -not $Undo) { Import-Module -Name RemoteAccess }
$wanted = [ordered]@{ routing = 'Installed'; start = 'Auto'; state = 'Running'; forwarding = 'Enabled' }
# What else it does, for somebody: whoever has set up a VPN there since needs the service, then all of it stays.
Complete-Step -SaveAs 'routing' -Wanted $wanted -Whole -Read {
    $service = Get-CimInstance -ClassName Win32_Service -Filter "Name='RemoteAccess'"
    $access = if ($hasRole) { Get-RemoteAccess -ErrorAction SilentlyContinue }
    [ordered]@{
        routing = "$($access.RoutingStatus)" -replace '^$', 'Uninstalled'
        otherUses = @(Get-OtherUse $access) -join ' '
        # A service that is not there is as good as disabled.
        start = "$($service.StartMode)" -replace '^$', 'Disabled'
        state = "$($service.State)" -replace '^$', 'Stopped'
        forwarding = "$((Get-NetIPInterface -InterfaceIndex $index -AddressFamily IPv4).Forwarding)"
    }
} -Set {
    $isNew = [version] (Get-CimInstance -ClassName Win32_OperatingSystem).Version -ge [version] '10.0'
    if ($put.state -and $put.state -ne 'Running') { Stop-Service -Name RemoteAccess -Force }
    if ($put.routing -eq 'Installed') {
        if ($isNew) {
            Install-RemoteAccess -VpnType RoutingOnly
        } else {
            Invoke-Netsh @('ras', 'set', 'type', 'ipv4rtrtype=lanonly', 'ipv6rtrtype=none', 'rastype=none')
            Invoke-Netsh @('ras', 'set', 'conf', 'confstate=enabled')
        }
    } elseif ($put.Contains('routing')) {
        if ($isNew) { Uninstall-RemoteAccess -Force } else { Invoke-Netsh @('ras', 'set', 'conf', 'confstate=disabled') }
    }
    if ($put.start) { Set-Service -Name RemoteAccess -StartupType ($put.start -replace '^Auto$', 'Automatic') }
    if ($put.state -eq 'Running') { Start-Service -Name RemoteAccess }
    if ($put.forwarding) { Set-NetIPInterface -InterfaceIndex $index -AddressFamily IPv4 -Forwarding $put.forwarding }
}
