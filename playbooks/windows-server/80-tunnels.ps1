# Gives each of the two tunnels its connection security rule.
#
# Guide, step 4 "Set up the tunnel", "Option 1: Run the netsh script", one rule a tunnel; PFS (qmpfs) can be set only here.
# netsh writes the rule because its action (require in, clear out) has no form in New-NetIPsecRule; objects read it back,
# because netsh's text is localised.
#
# INVARIANT: a key is never in a process's arguments. The command lies in a file that only SYSTEM and Administrators may
# read, and the file is deleted whatever happens. $presharedKeys are run.ps1's; what it says of them holds here too.
# rules.json remembers each rule as a salted, slow hash, so that an unchanged rule is left alone and no key can be guessed.
param($Parameters, [switch] $Undo)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

$commandFile = Join-Path $PSScriptRoot 'rules.netsh'
$memoryPath = Join-Path $PSScriptRoot 'rules.json'

function Get-Memory {
    $memory = @{ salt = $null; rules = [ordered]@{} }
    if (Test-Path -LiteralPath $memoryPath) {
        $read = Read-Json $memoryPath
        $memory.salt = $read.salt
        foreach ($one in $read.rules.PSObject.Properties) { $memory.rules[$one.Name] = $one.Value }
    }
    if (-not $memory.salt) {
        $bytes = New-Object byte[] 32
        [Security.Cryptography.RandomNumberGenerator]::Create().GetBytes($bytes)
        $memory.salt = [Convert]::ToBase64String($bytes)
    }
    $memory
}

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

function Get-Rule([string] $Name, [string] $Store) {
    @(Get-NetIPsecRule -DisplayName $Name -PolicyStore $Store -ErrorAction SilentlyContinue)
}

# What the stored and the active policy hold for a rule; 'right' is exactly one, enabled, with this tunnel's endpoint, in force.
function Get-RuleState($Tunnel) {
    $stored = @(Get-Rule $Tunnel.name 'PersistentStore')
    if ($stored.Count -eq 0) { return 'absent' }
    if ($stored.Count -gt 1) { return "there $($stored.Count) times" }
    if ("$($stored[0].Enabled)" -notin 'True', '1') { return 'disabled' }
    if ((Get-TunnelEndpoint $stored[0]) -ne $Tunnel.outsideIp) { return 'for another endpoint' }
    if (@(Get-Rule $Tunnel.name 'ActiveStore').Count -eq 0) { return 'not in force' }
    'right'
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
$memory = Get-Memory
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
    Write-Json $memoryPath $memory
}

foreach ($tunnel in $tunnels) {
    $name = $tunnel.name
    $command = Get-RuleCommand $tunnel
    $hash = Get-RuleHash $command $memory.salt
    $state = Get-RuleState $tunnel
    if ($state -eq 'right' -and $memory.rules[$name] -ne $hash) { $state = 'different' }
    $was[$name] = $state
    if ($state -ne 'right') {
        if ($BeforeChange) { & $BeforeChange }
        # Forgotten first: if this is cut off, the next run does not take a half-made rule for the remembered one.
        $memory.rules.Remove($name)
        Write-Json $memoryPath $memory
        # netsh adds a second rule under the same name rather than replace the first.
        $lines = @()
        if ($state -ne 'absent') { $lines += "advfirewall consec delete rule name=`"$name`"" }
        Invoke-RuleScript ($lines + $command)
        $changed = $true
        # The active policy follows the stored one within moments.
        for ($try = 0; $try -lt 10; $try++) {
            $state = Get-RuleState $tunnel
            if ($state -ne 'not in force') { break }
            Start-Sleep -Seconds 1
        }
        if ($state -ne 'right') { throw "the rule $name was written, but is $state" }
        $memory.rules[$name] = $hash
        Write-Json $memoryPath $memory
    }
    $now[$name] = $state
}
New-Outcome $was $now $changed $false
