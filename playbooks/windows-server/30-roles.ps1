# Installs the roles: Network Policy and Access Services; Remote Access with DirectAccess and VPN (RAS) and Routing.
#
# Guide, step 3 "Configure Windows Server", "Add Roles and Features" with their management tools. What they need (IIS among
# it) comes along. With minimalRoles only Remote Access and Routing, which is all that routing itself needs.
# RSAT-RemoteAccess-PowerShell carries the commands of the next step; a role that was installed without tools lacks it.
param($Parameters, [switch] $Undo)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

$features = @('NPAS', 'RemoteAccess', 'DirectAccess-VPN', 'Routing', 'RSAT-RemoteAccess-PowerShell')
if ($Parameters.minimalRoles) { $features = @('RemoteAccess', 'Routing', 'RSAT-RemoteAccess-PowerShell') }

function Get-FeatureState {
    $states = [ordered]@{}
    foreach ($feature in $features) { $states[$feature] = "$((Get-WindowsFeature -Name $feature).InstallState)" }
    $states
}

# What somebody's routing and remote access cannot do without.
function Get-NeededRole($Access) {
    if ("$($Access.RoutingStatus)" -ne 'Installed' -and @(Get-OtherUse $Access).Count -eq 0) { return }
    'RemoteAccess', 'DirectAccess-VPN', 'Routing', 'RSAT-RemoteAccess-PowerShell'
}

# Another stack may have installed more than this one needs.
if ($Undo) { $features = @($features) + @((Get-Saved 'roles').Keys | Where-Object { $_ -notin $features }) }
$was = Get-FeatureState
if ($Undo) {
    # Roles stay unless it is asked for: something else may have come to need them.
    if (Test-Shared 'roles') { return New-Outcome $was $was $false $false }
    $before = Get-Saved 'roles'
    $ours = @($features | Where-Object { $Parameters.removeRoles -and $before.Contains($_) -and $before[$_] -ne 'Installed' -and $was[$_] -eq 'Installed' })
    if ($ours.Count -eq 0) { return New-Outcome $was $was $false $false }
    $needed = @()
    if ($was['RSAT-RemoteAccess-PowerShell'] -eq 'Installed') { $needed = @(Get-NeededRole (Get-RemoteAccess -ErrorAction SilentlyContinue)) }
    $kept = @($ours | Where-Object { $_ -in $needed })
    $ours = @($ours | Where-Object { $_ -notin $needed })
    if ($ours.Count -eq 0) { return New-Outcome $was $was $false $false $kept }
    $result = Uninstall-WindowsFeature -Name $ours
    if (-not $result.Success) { throw "Uninstall-WindowsFeature said $($result.ExitCode)" }
    return New-Outcome $was (Get-FeatureState) $true ("$($result.RestartNeeded)" -eq 'Yes') $kept
}
$wanted = [ordered]@{}
foreach ($feature in $features) { $wanted[$feature] = 'Installed' }
Save-Use 'roles' $wanted
$missing = @($features | Where-Object { $was[$_] -notin 'Installed', 'InstallPending' })
$restart = $false
if ($missing.Count -gt 0) {
    Save-Once 'roles' $was
    $result = Install-WindowsFeature -Name $missing -IncludeManagementTools
    if (-not $result.Success) { throw "Install-WindowsFeature said $($result.ExitCode)" }
    $restart = "$($result.RestartNeeded)" -eq 'Yes'
}
$now = Get-FeatureState
$waiting = @($features | Where-Object { $now[$_] -eq 'InstallPending' })
$left = @($features | Where-Object { $now[$_] -notin 'Installed', 'InstallPending' })
if ($left.Count -gt 0) { throw "set, but it reads back otherwise: not installed: $($left -join ', ')" }
$outcome = New-Outcome $was $now ($missing.Count -gt 0) ($restart -or $waiting.Count -gt 0)
# Routing cannot be set up on a half-installed role: the rest comes after the restart, with the next run.
$outcome | Add-Member -MemberType NoteProperty -Name restartFirst -Value $outcome.reboot
$outcome
