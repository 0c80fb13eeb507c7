# Applies the playbook on a real Windows Server, applies it again, undoes it, and compares what is set each time.
#
#   powershell -ExecutionPolicy Bypass -File tests\windows\roundtrip.ps1 [-Report FOLDER]
#
# For a machine that can be thrown away, as .github/workflows/windows.yml has it: as Administrator, with Windows Firewall on.
# The roles stay installed. No tunnel comes up: all addresses of the other end are for documentation (RFC 5737), and nothing
# is sent there. The folder gets what was set as JSON: before.json, applied.json, again.json, undone.json.
param([string] $Report = (Join-Path $env:TEMP 'cgw-roundtrip'))
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

$playbook = Join-Path $PSScriptRoot '..\..\playbooks\windows-server'
$stack = Join-Path $env:ProgramData 'cgw\roundtrip'
$rules = 'roundtrip Tunnel 1', 'roundtrip Tunnel 2'
$features = 'NPAS', 'RemoteAccess', 'DirectAccess-VPN', 'Routing', 'RSAT-RemoteAccess-PowerShell'
$numbers = @{
    'HKLM:\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters' = 'EnableDeadGWDetect'
    'HKLM:\SYSTEM\CurrentControlSet\Services\PolicyAgent' = 'AssumeUDPEncapsulationContextOnSendRule'
}

$way = Get-NetRoute -DestinationPrefix '0.0.0.0/0' | Sort-Object -Property RouteMetric | Select-Object -First 1
$address = (Get-NetIPAddress -InterfaceIndex $way.InterfaceIndex -AddressFamily IPv4 | Select-Object -First 1).IPAddress
$adapter = Get-NetAdapter -InterfaceIndex $way.InterfaceIndex

# What `cgw scripts` writes for a stack with the suites of «modern».
function Get-Parameters {
    $method = 'ESP:SHA256-AES256+60min+100000kb'
    @{
        version = 1; stack = 'roundtrip'; connection = 'vpn-0a1b2c3d4e5f60001'; device = 'ec2'; minimalRoles = $false; replaceRules = $false
        adminPorts = @(22, 3389, 5985, 5986)
        privateIp = $address
        siteCidr = $address -replace '\.\d+$', '.0/24'
        cloudCidr = '198.51.100.0/24'
        mainMode = @{ minutes = 480; sessions = 0; suites = @(
                @{ keyExchange = 'DH14'; encryption = 'AES256'; hash = 'SHA256' }
                @{ keyExchange = 'DH2'; encryption = 'AES128'; hash = 'SHA1' }) }
        quickMode = @{ encapsulation = 'ESP'; espHash = 'SHA256'; encryption = 'AES256'; minutes = 60; kilobytes = 100000 }
        tunnels = @(
            @{ name = $rules[0]; outsideIp = '192.0.2.1'; quickMode = $method; pfs = 'dhgroup14' }
            @{ name = $rules[1]; outsideIp = '192.0.2.2'; quickMode = $method; pfs = 'dhgroup14' })
    }
}

# A set's proposals as text: as objects they would bring the description of their class along.
function Format-Set($Set) {
    if (-not $Set) { return 'absent' }
    $proposals = foreach ($one in $Set.Proposals) {
        ($one.CimInstanceProperties | Sort-Object -Property Name | ForEach-Object { "$($_.Name)=$($_.Value)" }) -join ' '
    }
    [ordered]@{ name = $Set.Name; proposals = @($proposals); limits = $Set | Select-Object -Property Max*, ForceDiffieHellman }
}

# All that the steps set, and nothing that is drawn by chance or that time changes.
function Get-Snapshot {
    $store = @{ PolicyStore = 'PersistentStore' }
    $quiet = @{ ErrorAction = 'SilentlyContinue' }
    $registry = [ordered]@{}
    foreach ($key in $numbers.Keys | Sort-Object) {
        $registry[$numbers[$key]] = "$((Get-ItemProperty -Path $key -Name $numbers[$key] @quiet).($numbers[$key]))"
    }
    # Where the service comes with the role, one that is not there is as good as disabled.
    $service = Get-CimInstance -ClassName Win32_Service -Filter "Name='RemoteAccess'"
    [ordered]@{
        ipsecSettings = Get-NetFirewallSetting @store | Select-Object -Property Exemptions, AllowIPsecThroughNAT,
            MaxSAIdleTimeSeconds, RemoteMachineTunnelAuthorizationList, RemoteUserTunnelAuthorizationList
        ipsecRules = @(Get-NetIPsecRule @store @quiet | Sort-Object -Property DisplayName, Name | Select-Object -Property DisplayName,
            Enabled, Mode, InboundSecurity, OutboundSecurity, LocalTunnelEndpoint, RemoteTunnelEndpoint)
        # The defaults of the whole server. netsh draws the name of a rule's own set by chance, and it goes with its rule.
        mainMode = Format-Set (Get-NetIPsecMainModeCryptoSet @store -Name '{E5A5D32A-4BCE-4e4d-B07F-4AB1BA7E5FE1}' @quiet)
        quickMode = Format-Set (Get-NetIPsecQuickModeCryptoSet @store -Name '{E5A5D32A-4BCE-4e4d-B07F-4AB1BA7E5FE2}' @quiet)
        firewallRules = @(Get-NetFirewallRule @store -Name 'cgw-*' @quiet | Sort-Object -Property Name |
            Select-Object -Property Name, Enabled, Direction, Action)
        registry = $registry
        offload = Get-NetAdapterChecksumOffload -Name $adapter.Name | Select-Object -Property IpIPv4Enabled, TcpIPv4Enabled, UdpIPv4Enabled
        routing = [ordered]@{
            service = if ($service) { "$($service.StartMode) $($service.State)" } else { 'Disabled Stopped' }
            forwarding = "$((Get-NetIPInterface -InterfaceIndex $way.InterfaceIndex -AddressFamily IPv4).Forwarding)"
            mtu = "$((Get-NetIPInterface -InterfaceIndex $way.InterfaceIndex -AddressFamily IPv4).NlMtu)"
        }
        features = @(Get-WindowsFeature -Name $features | Sort-Object -Property Name | ForEach-Object { "$($_.Name) $($_.InstallState)" })
    }
}

# The snapshot as text by section; also kept in the report.
function Save-Snapshot([string] $Name) {
    $snapshot = Get-Snapshot
    [IO.File]::WriteAllText((Join-Path $Report "$Name.json"), (ConvertTo-Json -InputObject $snapshot -Depth 8))
    $texts = [ordered]@{}
    foreach ($section in $snapshot.Keys) { $texts[$section] = ConvertTo-Json -InputObject $snapshot[$section] -Depth 8 }
    $texts
}

$failures = @()
function Assert-That([bool] $Holds, [string] $Sentence) {
    Write-Host ('{0} {1}' -f $(if ($Holds) { 'ok    ' } else { 'FAILED' }), $Sentence)
    if (-not $Holds) { $script:failures += $Sentence }
}

function Assert-Same($Is, $Wanted, [string[]] $Sections, [string] $When) {
    foreach ($section in $Sections) {
        Assert-That ($Is[$section] -ceq $Wanted[$section]) "$section, $When"
        if ($Is[$section] -cne $Wanted[$section]) { Write-Host "--- is`n$($Is[$section])`n--- should be`n$($Wanted[$section])" }
    }
}

# Runs a script of the playbook as a person would; its lines, which must be without error, and the numbers of its last one.
function Invoke-Playbook([string] $Script) {
    $said = @(& powershell.exe -NoProfile -ExecutionPolicy Bypass -File (Join-Path $stack $Script))
    $code = $LASTEXITCODE
    $said | ForEach-Object { Write-Host "       $_" }
    Assert-That ($code -eq 0) "$Script ends with exit code 0"
    $changed = if ("$($said -match '^cgw-done ')" -match ' changed=(\d+) reboot=\w+ failed=0 ') { $Matches[1] }
    Assert-That ($null -ne $changed) "$Script ends with its marker, and nothing failed"
    $lines = @($said | Where-Object { "$_".StartsWith('{') } | ForEach-Object { ConvertFrom-Json -InputObject $_ })
    Assert-That ($lines.Count -gt 0) "$Script says what it did"
    # A role that needs a restart first leaves out the steps after it: on such a machine this script cannot go on.
    foreach ($line in $lines) { if ($line.error) { Assert-That $false "$Script, $($line.id): $($line.error)" } }
    @{ changed = $changed; lines = $lines }
}

function Invoke-Run {
    [IO.File]::WriteAllText((Join-Path $stack 'parameters.json'), (ConvertTo-Json -InputObject (Get-Parameters) -Depth 6))
    $keys = Join-Path $stack 'keys.txt'
    [IO.File]::WriteAllLines($keys, [string[]] @('192.0.2.1 ExampleKeyOfTheFirst', '192.0.2.2 ExampleKeyOfTheSecond'))
    Invoke-Playbook 'run.ps1'
    Assert-That (-not (Test-Path -LiteralPath $keys)) 'the file of the keys is gone'
}

function Test-Guard { [bool] (Get-ScheduledTask -TaskName 'cgw guard roundtrip' -ErrorAction SilentlyContinue) }

# Nobody comes over a new connection here; without this the guard would put the firewall back.
function Confirm-Run {
    & powershell.exe -NoProfile -ExecutionPolicy Bypass -File (Join-Path $stack 'confirm.ps1') | ForEach-Object { Write-Host "       $_" }
    Assert-That ($LASTEXITCODE -eq 0) 'confirm.ps1 ends with exit code 0'
    Assert-That (-not (Test-Guard)) 'no guard is armed after the confirmation'
    Assert-That (-not (Test-Path -LiteralPath (Join-Path $stack 'guard'))) 'and no policy is left'
}

New-Item -ItemType Directory -Path $Report, $stack -Force | Out-Null
Copy-Item -Path (Join-Path $playbook '*') -Destination $stack

$before = Save-Snapshot 'before'
$sections = @($before.Keys)
Assert-That (-not (Get-NetIPsecRule -DisplayName $rules -PolicyStore PersistentStore -ErrorAction SilentlyContinue)) 'no rule of ours is there yet'

Write-Host "`n# apply"
Invoke-Run | Out-Null
Assert-That (Test-Guard) 'the guard is armed'
Confirm-Run
$applied = Save-Snapshot 'applied'
foreach ($name in $rules) {
    foreach ($where in 'PersistentStore', 'ActiveStore') {
        Assert-That (@(Get-NetIPsecRule -DisplayName $name -PolicyStore $where -ErrorAction SilentlyContinue).Count -eq 1) "the rule $name is once in $where"
    }
}
foreach ($section in $sections | Where-Object { $_ -notin 'offload', 'features' }) {
    Assert-That ($applied[$section] -cne $before[$section]) "$section is set"
}

Write-Host "`n# apply again"
$run = Invoke-Run
Assert-That ($run.changed -eq '0') 'a second run changes nothing'
Assert-That (-not (Test-Guard)) 'and arms no guard'
Assert-Same (Save-Snapshot 'again') $applied $sections 'after a second run'

Write-Host "`n# the guard"
Remove-NetIPsecRule -DisplayName $rules[0] -PolicyStore PersistentStore
$lacking = Save-Snapshot 'lacking'
Invoke-Run | Out-Null
Start-ScheduledTask -TaskName 'cgw guard roundtrip'
for ($wait = 0; (Test-Guard) -and $wait -lt 60; $wait++) { Start-Sleep -Seconds 1 }
Assert-Same (Save-Snapshot 'restored') $lacking $sections 'after the guard has come'
Invoke-Run | Out-Null
Confirm-Run
Assert-Same (Save-Snapshot 'mended') $applied $sections 'after one more run'

Write-Host "`n# undo"
$undo = Invoke-Playbook 'undo.ps1'
Assert-That (@($undo.lines | Where-Object { @($_.kept | Where-Object { $_ }).Count -gt 0 }).Count -eq 0) 'the undo leaves nothing as somebody else''s'
$undone = Save-Snapshot 'undone'
Assert-Same $undone $before @($sections | Where-Object { $_ -ne 'features' }) 'after the undo'
Assert-Same $undone $applied @('features') 'after the undo, which leaves roles'

if ($failures.Count -gt 0) {
    Write-Host "`n$($failures.Count) failed:"
    $failures | ForEach-Object { Write-Host "  $_" }
    exit 1
}
