# Gives each of the two tunnels its connection security rule.
#
# Guide, step 4 "Set up the tunnel", "Option 1: Run the netsh script", one rule a tunnel; PFS (qmpfs) can be set only here.
# netsh writes the rule because its action (require in, clear out) has no form in New-NetIPsecRule; objects read it back,
# because netsh's text is localised.
#
# INVARIANT: a key is never in a process's arguments. The command lies in a file that only SYSTEM and Administrators may
# read, and the file is deleted whatever happens. $presharedKeys are run.ps1's; what it says of them holds here too.
# rules.json remembers each rule as a salted, slow hash of the command that made it and of what could be read of it then, so that an
# unchanged rule is left alone, one that somebody changed is not, and no key can be guessed. A key cannot be read back.
param($Parameters, [switch] $Undo)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

$commandFile = Join-Path $PSScriptRoot 'rules.netsh'

function Get-RuleHash([string] $Rule, [string] $Salt) {
    $given = @($Rule, [Convert]::FromBase64String($Salt), 50000)
    $slow = [Activator]::CreateInstance([Security.Cryptography.Rfc2898DeriveBytes], $given)
    [Convert]::ToBase64String($slow.GetBytes(32))
}

function Get-RuleCommand($Tunnel) {
    @(
        'advfirewall consec add rule'
        "name=`"$($Tunnel.name)`""
        'enable=yes'
        'profile=any'
        'type=static'
        'mode=tunnel'
        "localtunnelendpoint=$($Parameters.privateIp)"
        "remotetunnelendpoint=$($Tunnel.outsideIp)"
        "endpoint1=`"$($Parameters.siteCidr)`""
        "endpoint2=`"$($Parameters.cloudCidr)`""
        'protocol=any'
        'action=requireinclearout'
        'auth1=computerpsk'
        "auth1psk=$($presharedKeys[$Tunnel.outsideIp])"
        "qmsecmethods=$($Tunnel.quickMode)"
        'exemptipsecprotectedconnections=no'
        'applyauthz=no'
        "qmpfs=$($Tunnel.pfs)"
    ) -join ' '
}

# All that can be read of a rule but its key, as one text.
function Get-RuleText($Rule) {
    $addresses = Get-NetFirewallAddressFilter -AssociatedNetIPsecRule $Rule
    $ports = Get-NetFirewallPortFilter -AssociatedNetIPsecRule $Rule
    $set = Get-NetIPsecQuickModeCryptoSet -AssociatedNetIPsecRule $Rule -ErrorAction SilentlyContinue
    $parts = @(foreach ($name in 'Profile', 'Mode', 'InboundSecurity', 'OutboundSecurity', 'LocalTunnelEndpoint', 'RemoteTunnelEndpoint', 'RequireAuthorization', 'EncryptedTunnelBypass', 'Phase1AuthSet') { "$($Rule.$name)" })
    $parts += "$($addresses.LocalAddress)", "$($addresses.RemoteAddress)", "$($ports.Protocol)", "$($ports.LocalPort)", "$($ports.RemotePort)"
    $parts += Get-Field $set @('PfsGroup', 'PfsGroupID', 'PerfectForwardSecrecyGroup')
    foreach ($one in @($set | ForEach-Object { $_.Proposals })) {
        $parts += Get-Field $one @('Encapsulation')
        $parts += Get-Field $one @('CipherAlgorithm', 'Encryption')
        $parts += Get-Field $one @('HashAlgorithmESP', 'ESPHash')
        $parts += Get-Field $one @('MaxLifetimeMinutes', 'MaxMinutes')
        $parts += Get-Field $one @('MaxLifetimeKilobytes', 'MaxKiloBytes')
    }
    $parts -join '|'
}

function Test-Network($Addresses, [string] $Cidr) {
    $range = ConvertTo-FilterRange "$Addresses"
    $network = ConvertTo-NetworkRange $Cidr
    $range -and $range.first -eq $network.first -and $range.last -eq $network.last
}

# What the stored and the active policy hold for a rule; 'right' is exactly one in each, on, between these ends and networks.
function Get-RuleState($Tunnel) {
    $stored = @(Get-Rule $Tunnel.name 'PersistentStore')
    if ($stored.Count -eq 0) { return 'absent' }
    if ($stored.Count -gt 1) { return "there $($stored.Count) times" }
    if (-not (Test-Enabled $stored[0])) { return 'disabled' }
    $own = "$($stored[0].LocalTunnelEndpoint)".Split('/')[0]
    if ((Get-TunnelEndpoint $stored[0]) -ne $Tunnel.outsideIp -or $own -ne $Parameters.privateIp) { return 'for another endpoint' }
    $filter = Get-NetFirewallAddressFilter -AssociatedNetIPsecRule $stored[0]
    if (-not (Test-Network $filter.LocalAddress $Parameters.siteCidr) -or -not (Test-Network $filter.RemoteAddress $Parameters.cloudCidr)) { return 'for other networks' }
    $active = @(Get-Rule $Tunnel.name 'ActiveStore').Count
    if ($active -ne 1) { return $(if ($active -eq 0) { 'not in force' } else { "in force $active times" }) }
    'right'
}

# The hash of a rule as it is there now.
function Get-SeenHash($Tunnel) {
    $rule = @(Get-Rule $Tunnel.name 'PersistentStore')[0]
    Get-RuleHash "$(Get-RuleCommand $Tunnel)`n$(Get-RuleText $rule)" $memory.salt
}

function Invoke-RuleScript([string[]] $Lines) {
    try {
        New-PrivateFile $commandFile (($Lines -join "`r`n") + "`r`n")
        Invoke-Netsh @('-f', $commandFile)
    } finally {
        [IO.File]::Delete($commandFile)
    }
}

[IO.File]::Delete($commandFile)
$memory = Read-RuleMemory
if (-not $memory.salt) {
    $bytes = New-Object byte[] 32
    [Security.Cryptography.RandomNumberGenerator]::Create().GetBytes($bytes)
    $memory.salt = [Convert]::ToBase64String($bytes)
}
$was = [ordered]@{}
$now = [ordered]@{}
$changed = $false

# Rules that this stack made for a connection it no longer has would match the same traffic. An undo leaves none.
$tunnels = @($Parameters.tunnels | Where-Object { -not $Undo })
if ($Undo) { foreach ($tunnel in $Parameters.tunnels) { if (-not $memory.rules.Contains($tunnel.name)) { $memory.rules[$tunnel.name] = '' } } }
else { $problems = @(Get-ParameterProblem $Parameters); if ($problems.Count -gt 0) { throw ($problems -join '; ') } }
$names = @($tunnels | ForEach-Object { $_.name })
foreach ($old in @($memory.rules.Keys | Where-Object { $_ -notin $names })) {
    if (@(Get-Rule $old 'PersistentStore').Count -gt 0) {
        if ($BeforeChange) { & $BeforeChange }
        Invoke-Netsh @('advfirewall', 'consec', 'delete', 'rule', "name=$old")
        if (@(Get-Rule $old 'PersistentStore').Count -gt 0) { throw "the old rule $old is still there" }
        $was[$old] = 'there'
        $now[$old] = 'absent'
        $changed = $true
    }
    $memory.rules.Remove($old)
    Write-RuleMemory $memory
}

foreach ($tunnel in $tunnels) {
    $name = $tunnel.name
    $state = Get-RuleState $tunnel
    if ($state -eq 'right' -and $memory.rules[$name] -ne (Get-SeenHash $tunnel)) { $state = 'different' }
    $was[$name] = $state
    if ($state -ne 'right') {
        if ($BeforeChange) { & $BeforeChange }
        # Forgotten first: if this is cut off, the next run does not take a half-made rule for the remembered one.
        $memory.rules.Remove($name)
        Write-RuleMemory $memory
        # netsh adds a second rule under the same name rather than replace the first.
        $lines = @()
        if ($state -ne 'absent') { $lines += "advfirewall consec delete rule name=`"$name`"" }
        Invoke-RuleScript ($lines + (Get-RuleCommand $tunnel))
        $changed = $true
        # The active policy follows the stored one within moments.
        for ($try = 0; $try -lt 10; $try++) {
            $state = Get-RuleState $tunnel
            if ($state -notmatch 'in force') { break }
            Start-Sleep -Seconds 1
        }
        if ($state -ne 'right') { throw "the rule $name was written, but is $state" }
        $memory.rules[$name] = Get-SeenHash $tunnel
        Write-RuleMemory $memory
    }
    $now[$name] = $state
}
New-Outcome $was $now $changed $false
