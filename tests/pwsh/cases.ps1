# Runs the playbook's own bootstrap, run.ps1 and steps against the modelled server: fresh, again, broken at every change, and
# on servers that differ. One line a case; the exit code is the number of cases that do not hold.
param([string] $Playbook, [string] $Folder)
# A case that cannot even be judged ends the run, and not well.
$ErrorActionPreference = 'Stop'
Import-Module (Join-Path $PSScriptRoot 'Server.psm1') -Force -DisableNameChecking
Install-Stand (Join-Path $PSScriptRoot '../data/windows-commands.json')
$env:ProgramData = $Folder
$global:RunFile = { param($Path, $Named) & $Path @Named }
$failures = 0
$trace = $null
$digest = '0123456789abcdef'
$keys = 'KeyOfTunnelOne1', 'KeyOfTunnel_Two.2', 'AnotherKeyForTwo3'

function Expect([string] $What, $Holds) {
    if ($Holds) { "ok     $What" } else { "WRONG  $What"; $script:failures++ }
}

function Get-Given {
    ConvertFrom-Json -AsHashtable @'
{"version":1,"stack":"prod","connection":"vpn-0abc","device":"ec2","privateIp":"172.31.16.10","siteCidr":"172.31.0.0/16",
 "cloudCidr":"10.0.0.0/16","minimalRoles":false,"replaceRules":false,"adminPorts":[22,3389,5985,5986],
 "mainMode":{"suites":[{"keyExchange":"DH14","encryption":"AES256","hash":"SHA256"},{"keyExchange":"DH2","encryption":"AES128","hash":"SHA1"}],"minutes":480,"sessions":0},
 "quickMode":{"encapsulation":"ESP","espHash":"SHA256","encryption":"AES256","minutes":60,"kilobytes":100000},
 "tunnels":[{"name":"vpn-0abc Tunnel 1","outsideIp":"203.0.113.10","quickMode":"ESP:SHA256-AES256+60min+100000kb","pfs":"dhgroup14","presharedKey":"KeyOfTunnelOne1"},{"name":"vpn-0abc Tunnel 2","outsideIp":"203.0.113.20","quickMode":"ESP:SHA256-AES256+60min+100000kb","pfs":"dhgroup14","presharedKey":"KeyOfTunnel_Two.2"}]}
'@
}

$bootstrap = Join-Path $Folder 'bootstrap.ps1'
Copy-Item (Join-Path $Playbook 'bootstrap.ps1') $bootstrap
$files = @{}
foreach ($file in Get-ChildItem $Playbook -File) { if ($file.Name -ne 'bootstrap.ps1') { $files[$file.Name] = [Convert]::ToBase64String([IO.File]::ReadAllBytes($file.FullName)) } }

# Runs a script block, and gives the exit code, the steps' lines by id, the last line and the state, and all that was said.
function Invoke-Captured([scriptblock] $Run) {
    $out = [IO.StringWriter]::new()
    $err = [IO.StringWriter]::new()
    $before = [Console]::Out, [Console]::Error
    [Console]::SetOut($out); [Console]::SetError($err)
    try { & $Run } finally { [Console]::SetOut($before[0]); [Console]::SetError($before[1]) }
    $code = $LASTEXITCODE
    $lines = @($out.ToString() -split "`r?`n" | Where-Object { $_ })
    $steps = @{}
    foreach ($line in $lines) { if ($line.StartsWith('{')) { $one = ConvertFrom-Json -AsHashtable $line; $steps[$one.id] = $one } }
    $state = @($lines | Where-Object { $_.StartsWith('cgw-state ') } | ForEach-Object { ConvertFrom-Json -AsHashtable $_.Substring(10) })
    [pscustomobject] @{ code = $code; steps = $steps; marker = "$($lines | Where-Object { $_.StartsWith('cgw-done ') })"; state = $state[0]; lines = $lines; error = $err.ToString() }
}

# What a bundle carries: the parameters, and beside them the keys.
function Split-Given($Given) {
    $parameters = ConvertFrom-Json -AsHashtable (ConvertTo-Json $Given -Depth 6)
    $lines = foreach ($tunnel in $parameters.tunnels) { "$($tunnel.outsideIp) $($tunnel.presharedKey)`n"; $tunnel.Remove('presharedKey') }
    @{ parameters = ConvertTo-Json $parameters -Depth 6; keys = -join $lines }
}
function ConvertTo-Base64([string] $Text) { [Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($Text)) }

# One session, as the client has it. Besides what was said it gives all text that can be seen, and what lies in the folder.
function Invoke-Session([string] $Stack, [string] $Script, $Arguments, $Files, [string] $Keys) {
    $folder = Join-Path $Folder "cgw/$(if ($Stack -match '^[\w.-]+$') { $Stack } else { 'none' })"
    $lines = (ConvertTo-Json @{ stack = $Stack; script = $Script; arguments = $Arguments; files = $Files } -Compress), (ConvertTo-Base64 $Keys)
    $ran = Invoke-Captured { if ($trace) { Trace-Command -Name ParameterBinding -FilePath $trace -Expression { $lines | & $bootstrap } } else { $lines | & $bootstrap } }
    $left = @(Get-ChildItem $folder -Recurse -File -ErrorAction SilentlyContinue | ForEach-Object { $_.Name })
    $texts = @(Get-ChildItem $folder -File -ErrorAction SilentlyContinue | ForEach-Object { [IO.File]::ReadAllText($_.FullName) })
    $all = ($ran.lines + $ran.error + $texts + (Get-History).arguments) -join "`n"
    $ran | Add-Member -PassThru -NotePropertyMembers @{ all = $all; left = $left; stack = $folder }
}
function Push($Given) {
    $all = @{} + $files
    $split = Split-Given $Given
    $all['parameters.json'] = ConvertTo-Base64 $split.parameters
    Invoke-Session $Given.stack 'follow.ps1' @{ Digest = $digest; Start = 'run.ps1' } $all $split.keys
}
function Confirm($Arguments = @{}, [string] $Stack = 'prod') { Invoke-Session $Stack 'confirm.ps1' $Arguments @{} }
function Undo([switch] $RemoveRoles, [string] $Stack = 'prod') { Invoke-Session $Stack 'follow.ps1' @{ Digest = $digest; Start = 'undo.ps1'; RemoveRoles = [bool] $RemoveRoles } @{} }
function Get-Proof { ConvertFrom-Json -AsHashtable ((Invoke-Session 'prod' 'prove.ps1' @{ Ping = '10.0.1.10' } @{}).lines[0] -replace '^cgw-proof ') }
function Start-Guard { Start-Timer 'cgw guard prod' }
function Reset { New-Server; if (Test-Path (Join-Path $Folder 'cgw')) { Remove-Item -Recurse -Force (Join-Path $Folder 'cgw') } }
# A push to a fresh server whose nth change fails, before or after it has its effect.
function Push-Failing([int] $N, [bool] $After) {
    Reset
    (Get-History).failAt = $N
    (Get-History).after = $After
    Push (Get-Given)
    (Get-History).failAt = 0
}
function Test-Quiet($Run) { @($keys | Where-Object { $Run.all.Contains($_) }).Count -eq 0 -and 'keys.txt' -notin $Run.left -and 'rules.netsh' -notin $Run.left }
# The last line of a run.
function Get-Marker([string] $What, [string] $Guard = 'none', [int] $Hours = 0) { "cgw-done $digest $What guard=$Guard boot=$(1767225600 + 3600 * $Hours)" }
function Get-ChangedIds($Run) { @($Run.steps.Values | Where-Object { $_.changed } | ForEach-Object { $_.id } | Sort-Object) -join ' ' }
$everything = 'checksum-offload dead-gateway firewall ipsec-settings main-mode mtu quick-mode roles routing tunnels udp-encapsulation'

# Fresh, and again.
Reset
$plain = Get-Snapshot
$run = Push (Get-Given)
$changes = (Get-History).calls
Expect 'fresh: exit code 0' ($run.code -eq 0)
if ($run.code -ne 0) { $run.lines; $run.error }
Expect "fresh: every step but the preflight changes something ($(Get-ChangedIds $run))" ((Get-ChangedIds $run) -eq $everything)
Expect 'fresh: the marker says so, and asks for a restart' ($run.marker -eq (Get-Marker 'changed=11 reboot=true failed=0' 'armed'))
Expect 'fresh: one line a step and the marker, nothing else' ($run.lines.Count -eq 15 -and $run.error -eq '')
Expect 'fresh: the fields of a line are in order' ($run.lines[1] -cmatch '^\{"id":"checksum-offload","was":\{.*\},"now":\{.*\},"changed":true,"reboot":true,"error":null\}$')
Expect 'fresh: no key is told or left behind' (Test-Quiet $run)
Expect 'fresh: the file of the rules was protected before netsh read it' ((Get-History).unprotected -eq 0 -and (Get-History).arguments.Count -eq 3)
Expect 'fresh: the file of the keys was gone before anything was written' ((Get-History).keysSeen -eq 0)
Expect 'fresh: no restart before the way is confirmed' ((Get-History).shutdowns -eq 0)
Expect 'fresh: the guard is armed for now and for a start, with the policy as it was' ("$((Get-Server).tasks['cgw guard prod'].triggers)" -eq 'once startup PT5M' -and 'policy.wfw' -in $run.left)
Expect 'fresh: the task of the run is gone' ((Get-Server).tasks.Count -eq 1)
$again = Invoke-Session 'prod' 'follow.ps1' @{ Digest = $digest } @{}
Expect 'who lost the session follows from the beginning' ($again.code -eq 0 -and ($again.lines -join "`n") -eq ($run.lines -join "`n"))
$other = Invoke-Session 'prod' 'follow.ps1' @{ Digest = 'abcdef0123456789' } @{}
Expect 'but not the run of another bundle' ($other.code -eq 1 -and $other.lines.Count -eq 0 -and $other.error -match 'ended without its last line')
$sure = Confirm
Expect 'confirmed: the guard is gone, and its policy with it' ($sure.code -eq 0 -and (Get-Server).tasks.Count -eq 0 -and 'policy.wfw' -notin $sure.left)
Expect 'confirmed: it says how the machine is' ($sure.state.boot -eq 1767225600 -and $sure.state.reboot -and $sure.state.routing -eq 'Running' -and $sure.state.guard -eq 'armed' -and $sure.state.rules['vpn-0abc Tunnel 2'] -eq 1 -and $sure.state.rules.Count -eq 2)
$final = Get-Snapshot
# Compared with what was written by hand, whole and whatever the order.
function ConvertTo-Lines($Value, [string] $Path) {
    if ($Value -is [Collections.IDictionary]) { foreach ($key in @($Value.Keys | Sort-Object)) { ConvertTo-Lines $Value[$key] "$Path/$key" } }
    elseif ($Value -is [Collections.IList]) { for ($n = 0; $n -lt $Value.Count; $n++) { ConvertTo-Lines $Value[$n] "$Path/$n" } }
    else { "$Path = $Value" }
}
$byHand = ConvertFrom-Json -AsHashtable ([IO.File]::ReadAllText((Join-Path $PSScriptRoot 'final.json')))
$byHand.Remove('server')
$differs = Compare-Object @(ConvertTo-Lines $byHand '') @(ConvertTo-Lines (ConvertFrom-Json -AsHashtable $final) '')
Expect "fresh: the server is what the guide makes of it by hand $(@($differs | ForEach-Object { "$($_.SideIndicator) $($_.InputObject)" }) -join '; ')" (-not $differs)
Expect 'fresh: the folder belongs to Administrators' ((Get-History).acls[$run.stack] -eq 'O:BAG:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)')
$server = Get-Server
Expect 'fresh: two rules, each with its key and its endpoint' ($server.rules.Count -eq 2 -and $server.rules[0].auth1psk -eq $keys[0] -and $server.rules[1].auth1psk -eq $keys[1] -and $server.rules[1].remotetunnelendpoint -eq '203.0.113.20')
Expect 'fresh: what differs from the server as it was' ($plain -ne $final -and $server.registry.EnableDeadGWDetect -eq 1 -and $server.registry.AssumeUDPEncapsulationContextOnSendRule -eq 2 -and $server.throughNat -eq 'Both' -and $server.idleSeconds -eq '3600' -and $server.forwarding -eq 'Enabled' -and $server.services.RemoteAccess -eq 'Auto Running' -and $server.users -eq 'None')
$ike = $server.openings['cgw-prod-ike']
$ping = $server.openings['cgw-prod-ping']
Expect 'fresh: Windows Firewall lets in IKE from both tunnels and ping from the VPC, nothing else' ($server.openings.Count -eq 2 -and "$($ike.Protocol) $($ike.LocalPort) $($ike.RemoteAddress)" -eq 'UDP 500 4500 203.0.113.10 203.0.113.20' -and "$($ping.Protocol) $($ping.IcmpType) $($ping.RemoteAddress)" -eq 'ICMPv4 8 10.0.0.0/16')
$saved = ConvertFrom-Json -AsHashtable ([IO.File]::ReadAllText((Join-Path $Folder 'cgw/_server/saved.json')))
Expect 'fresh: earlier settings are kept' ($saved['ipsec-settings'].users -eq 'O:LSD:(A;;CC;;;BA)' -and $saved['main-mode'].set -eq 'absent' -and $saved['dead-gateway'].EnableDeadGWDetect -eq 'absent' -and $saved['checksum-offload'].udp4 -eq 'TxEnabled')
$kept = [IO.File]::ReadAllText((Join-Path $Folder 'cgw/_server/saved.json'))
$acls = (Get-History).acls.Clone()
Clear-History
foreach ($one in $acls.Keys) { (Get-History).acls[$one] = $acls[$one] }
$run = Push (Get-Given)
Expect 'again: nothing is changed' ($run.code -eq 0 -and (Get-ChangedIds $run) -eq '' -and (Get-History).calls -eq 0 -and (Get-Snapshot) -eq $final)
Expect 'again: the restart is still due, nothing is to be guarded' ($run.marker -eq (Get-Marker 'changed=0 reboot=true failed=0'))
Expect 'again: what was kept stays' ([IO.File]::ReadAllText((Join-Path $Folder 'cgw/_server/saved.json')) -eq $kept)
(Get-Server).boot = (Get-Server).boot.AddSeconds(3)
Expect 'the clock was set: the restart is still due' ((Push (Get-Given)).marker -match 'reboot=true')
(Get-Server).boot = (Get-Server).boot.AddHours(1)
Expect 'after the restart: nothing is due' ((Push (Get-Given)).marker -match 'changed=0 reboot=false failed=0')

# Changes of what is wanted, and of what is there.
$given = Get-Given
$given.tunnels[1].presharedKey = $keys[2]
$first = ConvertTo-Json (Get-Server).rules[0]
$run = Push $given
Expect 'another key for one tunnel: only its rule is written' ((Get-ChangedIds $run) -eq 'tunnels' -and (Get-History).calls -eq 4 -and (ConvertTo-Json (Get-Server).rules[0]) -eq $first -and (Get-Server).rules[1].auth1psk -eq $keys[2])
Expect 'another key for one tunnel: and it says which' ($run.steps.tunnels.was['vpn-0abc Tunnel 1'] -eq 'right' -and $run.steps.tunnels.was['vpn-0abc Tunnel 2'] -eq 'different')
Expect 'another key for one tunnel: no key is told' (Test-Quiet $run)
(Get-Server).rules[0].enable = 'False'
$run = Push $given
Expect 'a rule that was switched off is written again' ((Get-ChangedIds $run) -eq 'tunnels' -and (Get-Server).rules[0].enable -eq 'True' -and (Get-Server).rules.Count -eq 2)
(Get-Server).rules = @((Get-Server).rules) + @((Get-Server).rules[0])
$run = Push $given
Expect 'a rule that is there twice becomes one' ((Get-ChangedIds $run) -eq 'tunnels' -and (Get-Server).rules.Count -eq 2)
$given.connection = 'vpn-0def'
foreach ($n in 0, 1) { $given.tunnels[$n].name = "vpn-0def Tunnel $($n + 1)" }
$run = Push $given
Expect 'another connection: the rules of the old one are gone' ($run.code -eq 0 -and (Get-Server).rules.Count -eq 2 -and (Get-Server).rules[0].name -eq 'vpn-0def Tunnel 1')
(Get-Server).openings['cgw-prod-ike'].RemoteAddress = @('Any')
$run = Push $given
Expect 'an opening that somebody widened is made narrow again, the other left alone' ((Get-ChangedIds $run) -eq 'firewall' -and (Get-Server).openings['cgw-prod-ike'].RemoteAddress[1] -eq '203.0.113.20' -and $run.steps.firewall.was.ike -match 'from Any' -and (Get-History).calls -gt 0)
(Get-Server).registry.Remove('AssumeUDPEncapsulationContextOnSendRule')
$run = Push $given
Expect 'a number that is gone from the registry is set again' ((Get-ChangedIds $run) -eq 'udp-encapsulation' -and $run.marker -match 'reboot=true')
(Get-Server).mainMode.minutes = 60
$run = Push $given
Expect 'a drifted main mode is set right' ((Get-ChangedIds $run) -eq 'main-mode' -and (Get-Server).mainMode.minutes -eq 480)
Expect 'a drifted main mode is set right: what was kept is still the first state' ([IO.File]::ReadAllText((Join-Path $Folder 'cgw/_server/saved.json')) -eq $kept)

# Each setting is changed by hand: exactly the step whose setting it is sets it again, and all else stays.
Reset
[void] (Push (Get-Given))
[void] (Confirm)
$drifts = [ordered]@{
    'checksum-offload' = @({ (Get-Server).offload.IpIPv4Enabled = 'RxTxEnabled' }, { (Get-Server).offload.TcpIPv4Enabled = 'RxTxEnabled' }, { (Get-Server).offload.UdpIPv4Enabled = 'TxEnabled' })
    'roles' = @({ (Get-Server).features.Remove('NPAS') }, { (Get-Server).features.Remove('Routing') }, { (Get-Server).features.Remove('RSAT-RemoteAccess-PowerShell') })
    'routing' = @({ (Get-Server).access.RoutingStatus = 'Uninstalled' }, { (Get-Server).services.RemoteAccess = 'Disabled Stopped' }, { (Get-Server).services.RemoteAccess = 'Auto Stopped' },
        { (Get-Server).services.RemoteAccess = 'Manual Running' }, { (Get-Server).forwarding = 'Disabled' })
    'ipsec-settings' = @({ (Get-Server).exemptions = 'Dhcp, Icmp' }, { (Get-Server).machines = 'O:LSD:(A;;CC;;;BA)' }, { (Get-Server).users = 'O:LSD:(A;;CC;;;BA)' },
        { (Get-Server).throughNat = 'Server' }, { (Get-Server).idleSeconds = '300' })
    'udp-encapsulation' = @({ (Get-Server).registry.AssumeUDPEncapsulationContextOnSendRule = 1 }, { (Get-Server).registry.Remove('AssumeUDPEncapsulationContextOnSendRule') })
    'main-mode' = @({ (Get-Server).mainMode.minutes = 60 }, { (Get-Server).mainMode.sessions = 5 }, { (Get-Server).mainMode.force = $false }, { (Get-Server).mainMode = $null },
        { (Get-Server).mainMode.proposals = @((Get-Server).mainMode.proposals[1]) }, { (Get-Server).mainMode.proposals[0].Hash = 'SHA1' })
    'quick-mode' = @({ (Get-Server).quickMode = $null }, { (Get-Server).quickMode.proposals[0].Encryption = 'AES128' }, { (Get-Server).quickMode.proposals[0].MaxMinutes = 30 }, { (Get-Server).quickMode.proposals[0].Encapsulation = 'AH' })
    'firewall' = @({ (Get-Server).openings.Remove('cgw-prod-ping') }, { (Get-Server).openings['cgw-prod-ike'].RemoteAddress = @('Any') }, { (Get-Server).openings['cgw-prod-ike'].Profile = 'Domain' },
        { (Get-Server).openings['cgw-prod-ike'].Enabled = 'False' }, { (Get-Server).openings['cgw-prod-ping'].Action = 'Block' }, { (Get-Server).openings['cgw-prod-ike'].LocalPort = @('500') },
        { (Get-Server).openings['cgw-prod-ping'].Direction = 'Outbound' }, { (Get-Server).openings['cgw-prod-ping'].Protocol = 'UDP' })
    'mtu' = @(, { (Get-Server).mtu = 9001 })
    'tunnels' = @({ (Get-Server).rules = @((Get-Server).rules[1]) }, { (Get-Server).rules = @((Get-Server).rules) + (Get-Server).rules[0] }, { (Get-Server).rules[0].auth1 = 'computerkerb' })
    'dead-gateway' = @({ (Get-Server).registry.EnableDeadGWDetect = 0 }, { (Get-Server).registry.Remove('EnableDeadGWDetect') })
}
$values = [ordered]@{ enable = 'False'; profile = 'domain'; mode = 'transport'; localtunnelendpoint = '172.31.16.11'; remotetunnelendpoint = '203.0.113.11'; endpoint1 = '172.31.16.0/20'
    endpoint2 = '10.0.0.0/15'; protocol = 'tcp'; action = 'requestinrequestout'; qmsecmethods = 'ESP:SHA1-AES128+60min+100000kb'; exemptipsecprotectedconnections = 'yes'; applyauthz = 'yes'; qmpfs = 'dhgroup2' }
foreach ($field in $values.Keys) { $drifts['tunnels'] += { (Get-Server).rules[0][$field] = $values[$field] }.GetNewClosure() }
$wrong = @()
$count = 0
foreach ($step in $drifts.Keys) {
    foreach ($drift in $drifts[$step]) {
        $count++
        & $drift
        $drifted = Get-Snapshot
        $run = Push (Get-Given)
        [void] (Confirm)
        # Nobody is told in two ways.
        $after = (Get-Snapshot) -replace '"machines":"None"', '"machines":""'
        if ($run.code -ne 0 -or $drifted -eq $final -or (Get-ChangedIds $run) -ne $step -or $after -ne $final) {
            $wrong += "$step`: $(Get-ChangedIds $run) after {$drift}"
            Reset
            [void] (Push (Get-Given))
            [void] (Confirm)
        }
    }
}
Expect "each of $count settings changed by hand: exactly that one is set again $($wrong -join '; ')" ($wrong.Count -eq 0 -and $count -gt 50)

# Every change fails once, before or after its effect; the next run ends as if nothing had happened.
foreach ($after in $false, $true) {
    $wrong = @()
    foreach ($n in 1..$changes) {
        $run = Push-Failing $n $after
        $bad = @($run.steps.Values | Where-Object { $_.error -and -not $_.skipped })
        $skipped = @($run.steps.Values | Where-Object { $_.skipped })
        if ($run.code -ne 1 -or $run.marker -notmatch ' failed=1 ' -or $bad.Count -ne 1 -or $bad[0].error -notmatch 'modelled server failed' -or $bad[0].changed) { $wrong += "$n is not reported" }
        if ($run.steps.Count -ne 14 -or ($skipped.Count -eq 0 -and $bad[0].id -ne 'dead-gateway') -or @($skipped | Where-Object { $_.error -notmatch $bad[0].id }).Count) { $wrong += "$n skips wrongly" }
        if (-not (Test-Quiet $run)) { $wrong += "$n tells a key" }
        $run = Push (Get-Given)
        [void] (Confirm)
        if ($run.code -ne 0 -or (Get-Snapshot) -ne $final -or -not (Test-Quiet $run)) { $wrong += "$n is not mended" }
        if ($run.marker -notmatch 'reboot=true') { $wrong += "$n forgets the restart" }
    }
    Expect "each of $changes changes fails $(if ($after) { 'after' } else { 'before' }) its effect, then all is mended $($wrong -join ', ')" ($wrong.Count -eq 0 -and $changes -gt 10)
}

# Undo: the server as it was, whole; with own settings of its own too; whatever was cut off before.
Reset
$run = Push (Get-Given)
$roles = (Get-Server).features.Count
$run = Undo
Expect 'undo: all steps but the roles are taken back' ($run.code -eq 0 -and (Get-ChangedIds $run) -eq 'checksum-offload dead-gateway firewall ipsec-settings main-mode mtu quick-mode routing tunnels udp-encapsulation' -and (Get-Server).features.Count -eq $roles)
Expect 'undo: the marker says so' ($run.marker -eq (Get-Marker 'changed=10 reboot=true failed=0') -and $run.error -eq '')
Expect 'undo: the guard and the folder of the stack are gone' ((Get-Server).tasks.Count -eq 0 -and -not (Test-Path $run.stack))
$run = Undo
Expect 'undo again: there is nothing to undo' ($run.code -eq 4 -and $run.error -match 'nothing is set up here' -and $run.lines.Count -eq 0)
Reset
[void] (Push (Get-Given))
Expect 'undo: no key is kept for it' $(& { $kept = [IO.File]::ReadAllText((Join-Path $Folder 'cgw/prod/parameters.json')); @($keys | Where-Object { $kept.Contains($_) }).Count -eq 0 -and $kept.Contains('vpn-0abc Tunnel 1') })
$run = Undo -RemoveRoles
Expect 'undo with -RemoveRoles: the server is as it was, whole' ($run.code -eq 0 -and (Get-Snapshot) -eq $plain)
if ((Get-Snapshot) -ne $plain) { $plain; Get-Snapshot }

function Set-OwnThings {
    $s = Get-Server
    $s.exemptions = 'Dhcp, Icmp'; $s.throughNat = 'Server'; $s.idleSeconds = '900'; $s.forwarding = 'Enabled'
    $s.registry.EnableDeadGWDetect = 0
    $s.mainMode = [ordered]@{ proposals = @([ordered]@{ KeyExchange = 'DH19'; Encryption = 'AES128'; Hash = 'SHA1' }, [ordered]@{ KeyExchange = 'DH14'; Encryption = 'DES3'; Hash = 'SHA1' }); minutes = 60; sessions = 5; force = $false }
    $s.quickMode = [ordered]@{ proposals = @([ordered]@{ Encapsulation = 'ESP'; ESPHash = 'SHA1'; Encryption = 'DES3'; MaxMinutes = 30; MaxKiloBytes = 5000 }); minutes = 480; sessions = 0; force = $false }
    $s.rules = @([ordered]@{ name = 'Branch office'; enable = 'True'; remotetunnelendpoint = '192.0.2.99'; endpoint1 = '172.31.0.0/16'; endpoint2 = '10.1.0.0-10.1.0.99' },
        [ordered]@{ name = 'Isolation'; enable = 'True'; remotetunnelendpoint = 'Any'; endpoint1 = 'Any'; endpoint2 = 'Any' })
    $s.openings['theirs'] = [ordered]@{ Name = 'theirs'; Direction = 'Inbound'; Action = 'Allow'; Enabled = 'True'; Protocol = 'UDP' }
}
Reset
Set-OwnThings
$own = Get-Snapshot
$run = Push (Get-Given)
Expect 'a server with own settings: set up' ($run.code -eq 0 -and (Get-Server).rules.Count -eq 4)
$run = Undo -RemoveRoles
Expect 'a server with own settings: undone, whole' ($run.code -eq 0 -and (Get-Snapshot) -eq $own)
if ((Get-Snapshot) -ne $own) { $own; Get-Snapshot }
# Routing and remote access that somebody has set up before, with a VPN of their own beside it.
Reset
(Get-Server).access = [ordered]@{ RoutingStatus = 'Installed'; VpnStatus = 'Installed' }
foreach ($role in 'DirectAccess-VPN', 'RemoteAccess', 'Routing', 'RSAT-RemoteAccess-PowerShell') { (Get-Server).features[$role] = 'Installed' }
(Get-Server).services['RemoteAccess'] = 'Auto Running'
$theirs = Get-Snapshot
$run = Push (Get-Given)
Expect 'routing that is set up for something else too serves as it is' ($run.code -eq 0 -and (Get-Server).access.VpnStatus -eq 'Installed' -and $run.steps.routing.now.otherUses -eq 'VpnStatus')
$run = Undo -RemoveRoles
Expect 'and it is there afterwards as it was, whole' ($run.code -eq 0 -and (Get-Snapshot) -eq $theirs)
if ((Get-Snapshot) -ne $theirs) { $theirs; Get-Snapshot }
Reset
[void] (Push (Get-Given))
(Get-Server).mainMode.minutes = 60
(Get-Server).idleSeconds = '1200'
$run = Undo
Expect 'what somebody changed since is left to them' ($run.code -eq 0 -and (Get-Server).mainMode.minutes -eq 60 -and (Get-Server).idleSeconds -eq '1200' -and (Get-Server).throughNat -eq 'NotConfigured')
Expect 'and it is said' ('minutes' -in $run.steps['main-mode'].kept -and 'idleSeconds' -in $run.steps['ipsec-settings'].kept)
foreach ($after in $false, $true) {
    $wrong = @()
    foreach ($n in 1..$changes) {
        [void] (Push-Failing $n $after)
        if ((Undo -RemoveRoles).code -ne 0 -or (Get-Snapshot) -ne $plain) { $wrong += $n }
    }
    Expect "a run that was cut off $(if ($after) { 'after' } else { 'before' }) each change is undone, whole $($wrong -join ', ')" ($wrong.Count -eq 0)
    $wrong = @()
    foreach ($n in 1..13) {
        Reset
        [void] (Push (Get-Given))
        [void] (Confirm)
        $acls = (Get-History).acls
        Clear-History
        (Get-History).acls = $acls
        (Get-History).failAt = $n
        (Get-History).after = $after
        $run = Undo -RemoveRoles
        if ($run.code -ne 1 -or $run.marker -notmatch ' failed=[12] ') { $wrong += "$n is not reported" }
        if ($run.steps.Count -ne 14) { $wrong += "$n stops the rest" }
        (Get-History).failAt = 0
        if ((Undo -RemoveRoles).code -ne 0 -or (Get-Snapshot) -ne $plain) { $wrong += "$n is not mended" }
    }
    Expect "an undo that was cut off $(if ($after) { 'after' } else { 'before' }) a change goes on when run again $($wrong -join ', ')" ($wrong.Count -eq 0)
}

# The guard: whenever its time comes, the policy is as it was before the run; a run after that sets all again.
$policy = 'exemptions', 'machines', 'users', 'throughNat', 'idleSeconds', 'openings', 'mainMode', 'quickMode', 'rules'
function Get-Policy { ConvertTo-Json -Depth 9 -Compress (Get-Server | Select-Object $policy) }
foreach ($prepare in { }, { Set-OwnThings }) {
    $wrong = @()
    foreach ($n in 1..($changes + 1)) {
        Reset
        & $prepare
        $before = Get-Policy
        (Get-History).failAt = $n
        (Get-History).after = $true
        [void] (Push (Get-Given))
        (Get-History).failAt = 0
        $armed = (Get-Server).tasks.Contains('cgw guard prod')
        if (-not $armed -and (Get-Policy) -ne $before) { $wrong += "$n is not guarded" }
        if (-not $armed) { continue }
        Start-Guard
        if ((Get-Policy) -ne $before) { $wrong += "$n is not put back" }
        $sure = Confirm
        if ($sure.state.guard -ne 'restored' -or (Get-Server).tasks.Count -ne 0 -or 'policy.wfw' -in $sure.left) { $wrong += "$n is not told" }
        [void] (Push (Get-Given))
        if ((Confirm).state.guard -ne 'armed' -or (Get-Server).rules.Count -lt 2 -or (Get-Server).tasks.Count -ne 0) { $wrong += "$n is not mended" }
    }
    Expect "the guard's time comes after each of $changes changes $($wrong -join ', ')" ($wrong.Count -eq 0)
}

# What the guard puts back is not what this stack has written.
Reset
[void] (Push (Get-Given))
[void] (Confirm)
$given = Get-Given
$given.tunnels[1].presharedKey = $keys[2]
[void] (Push $given)
Start-Guard
Expect 'the guard puts the old key back' ((Get-Server).rules[1].auth1psk -eq $keys[1])
[void] (Push $given)
Expect 'and the next run sets the new one' ((Get-Server).rules[1].auth1psk -eq $keys[2] -and (Get-Server).rules.Count -eq 2)

Reset
[void] (Push (Get-Given))
[void] (Confirm)
$given = Get-Given
$given.connection = 'vpn-0def'
foreach ($n in 0, 1) { $given.tunnels[$n].name = "vpn-0def Tunnel $($n + 1)"; $given.tunnels[$n].outsideIp = "203.0.113.$(30 + $n)" }
[void] (Push $given)
Start-Guard
$back = (Get-Server).rules[0].name
[void] (Push $given)
[void] (Confirm)
Expect 'rules of the connection before that the guard brings back are known and go' ($back -eq 'vpn-0abc Tunnel 1' -and (@((Get-Server).rules | ForEach-Object { $_.name }) -join ' ') -eq 'vpn-0def Tunnel 1 vpn-0def Tunnel 2')
Reset
Set-OwnThings
$before = Get-Policy
$run = Push (Get-Given)
[IO.File]::WriteAllText((Join-Path $run.stack 'rules.json'), '{ "salt": "')
Start-Guard
Expect 'a memory that is damaged keeps no policy from being put back' ((Get-Policy) -eq $before -and (Confirm).state.guard -eq 'restored')
[IO.File]::WriteAllText((Join-Path $run.stack 'rules.json'), 'x')
Expect 'and no run from going on' ((Push (Get-Given)).code -eq 0 -and (Undo).code -eq 0)

# What comes in the same moment, and what comes too late.
Reset
[void] (Push (Get-Given))
Start-Guard
$sure = Confirm @{ Restart = $true }
Expect 'once the guard has come no restart is ordered' ($sure.state.guard -eq 'restored' -and (Get-History).shutdowns -eq 0 -and (Get-Server).tasks.Count -eq 0)
Reset
[void] (Push (Get-Given))
$rules = (Get-Server).rules.Count
[IO.Directory]::Move((Join-Path $Folder 'cgw/prod/guard'), (Join-Path $Folder 'cgw/prod/guard-firing'))
$sure = Confirm
Expect 'who confirms while the guard fires is told' ($sure.state.guard -eq 'restored' -and (Get-Server).tasks.Contains('cgw guard prod'))
Start-Guard
Expect 'and the guard goes on' ((Get-Server).rules.Count -eq 0 -and (Get-Server).tasks.Count -eq 0)
Reset
[void] (Push (Get-Given))
[IO.Directory]::Delete((Join-Path $Folder 'cgw/prod/guard'), $true)
Start-Guard
Expect 'a guard that was disarmed in the same moment does nothing' ((Get-Server).rules.Count -eq $rules)
Reset
[void] (Push (Get-Given))
(Get-History).failAt = (Get-History).calls + 1
Start-Guard
(Get-History).failAt = 0
Expect 'a policy that is refused: the steps are undone' ((Get-Server).rules.Count -eq 0 -and (Confirm).state.guard -eq 'restored')

# Undo after a run that was refused, with other wishes, without its adapter, and beside somebody's own VPN.
Reset
(Get-Server).firewalls.Public = 'False'
$before = Get-Snapshot
[void] (Push (Get-Given))
$run = Undo
Expect 'undo of a run that was refused: nothing, and no failure' ($run.code -eq 0 -and (Get-Snapshot) -eq $before -and -not (Test-Path $run.stack))
Reset
[void] (Push (Get-Given))
[void] (Confirm)
(Get-Server).firewalls.Public = 'False'
$given = Get-Given
$given.tunnels[0].outsideIp = '203.0.113.30'
$given.mainMode.minutes = 60
[void] (Push $given)
(Get-Server).firewalls.Public = 'True'
$run = Undo -RemoveRoles
Expect 'undo after a second run with other wishes was refused: whole' ($run.code -eq 0 -and (Get-Snapshot) -eq $plain)
Reset
[void] (Push (Get-Given))
[void] (Confirm)
(Get-Server).address = '172.31.16.99'
$run = Undo
Expect 'undo without the adapter: the rest is undone, and what stays is named' ($run.code -eq 0 -and (Get-Server).rules.Count -eq 0 -and "$($run.steps.mtu.kept)" -match 'which is gone')
Reset
[void] (Push (Get-Given))
[void] (Confirm)
(Get-Server).access.VpnStatus = 'Installed'
$run = Undo -RemoveRoles
Expect 'undo beside a VPN that somebody set up since: their service runs on' ((Get-Server).services.RemoteAccess -eq 'Auto Running' -and (Get-Server).access.RoutingStatus -eq 'Installed' -and 'otherUses' -in $run.steps.routing.kept -and (@((Get-Server).features.Keys) -join ' ') -eq 'DirectAccess-VPN RemoteAccess Routing RSAT-RemoteAccess-PowerShell')

# The restart: over a connection that proves the way, with the guard armed for after it.
Reset
[void] (Push (Get-Given))
$sure = Confirm @{ Restart = $true }
Expect 'a restart is ordered once, and guarded' ($sure.code -eq 0 -and (Get-History).shutdowns -eq 1 -and (Get-History).shutdown -match '^/r /t 5 ' -and "$((Get-Server).tasks['cgw guard prod'].triggers)" -eq 'once startup PT15M')
$sure = Confirm @{ After = 1767225600 }
Expect 'before the restart nothing is confirmed' ($sure.code -eq 0 -and $sure.state.boot -eq 1767225600 -and (Get-Server).tasks.Contains('cgw guard prod'))
Restart-Server
$sure = Confirm @{ After = 1767225600 }
Expect 'after the restart the guard goes' ($sure.state.boot -eq 1767229200 -and -not $sure.state.reboot -and (Get-Server).tasks.Count -eq 0 -and 'policy.wfw' -notin $sure.left)
[void] (Confirm @{ Restart = $true })
Start-Guard
Expect 'where the policy is gone the guard undoes the steps' ((Get-Server).rules.Count -eq 0 -and (Get-Server).exemptions -eq 'NotConfigured' -and (Get-Server).tasks.Count -eq 0)
Reset
[void] (Push (Get-Given))
$sure = Confirm @{ At = '03:30' }
Expect 'a restart at a time of the day is not guarded' ($sure.code -eq 0 -and (Get-History).shutdown -match '^/r /t \d+ ' -and (Get-Server).tasks.Count -eq 0)
Expect 'which has to be one' ((Confirm @{ At = '25:00' }).error -match 'no time of the day')

# The ping: it keeps a tunnel up, and proves it.
Reset
$given = Get-Given
$given.ping = '10.0.1.10'
$run = Push $given
$task = (Get-Server).tasks['cgw keepalive prod']
Expect 'with a host to ping a task keeps a tunnel up from every start on' ($run.steps.keepalive.changed -and $task.state -eq 'Running' -and $task.arguments -match 'keepalive.ps1" -From 172.31.16.10 -Ping 10.0.1.10$' -and "$($task.triggers)" -eq 'startup')
Expect 'again: nothing' (-not (Push $given).steps.keepalive.changed)
$given.ping = '10.0.1.11'
Expect 'another host: the task pings that one' ((Push $given).steps.keepalive.was.ping -eq '10.0.1.10 from 172.31.16.10' -and (Get-Server).tasks['cgw keepalive prod'].arguments -match '10.0.1.11$')
$proof = Get-Proof
Expect 'the proof waits for the first reply, and says what was negotiated' ($proof.received -eq 5 -and $proof.sent -eq 5 -and $proof.mainMode[0].peer -eq '203.0.113.10' -and "$($proof.mainMode[0].encryption) $($proof.mainMode[0].hash) $($proof.mainMode[0].keyExchange)" -eq 'AES256 SHA256 DH14' -and $proof.quickMode[0].keyExchange -eq 'DH14')
Expect 'what went through a tunnel is counted, also when the counter begins again' ($proof.tunnelBytes.sent -eq 600 -and $proof.tunnelBytes.received -eq 600)
$steady = Get-Snapshot
$failed = Invoke-Session 'prod' 'failover.ps1' @{ Ping = '10.0.1.10' } @{}
$told = ConvertFrom-Json -AsHashtable ($failed.lines[0] -replace '^cgw-failover ')
Expect 'a failover: the other tunnel takes over, then all is as before' ($failed.code -eq 0 -and $told.from -eq '203.0.113.10' -and $told.to -eq '203.0.113.20' -and $null -ne $told.seconds -and (Get-Snapshot) -eq ($steady -replace '"pings":\d+', "`"pings`":$((Get-Server).pings)"))
(Get-History).failAt = (Get-History).calls + 2
(Get-History).after = $true
$failed = Invoke-Session 'prod' 'failover.ps1' @{ Ping = '10.0.1.10' } @{}
(Get-History).failAt = 0
Expect 'a failover that is cut off after the rule went off: it is on again, and no task is left' ($failed.code -eq 1 -and (Get-Server).rules[0].enable -eq 'True' -and -not (Get-Server).tasks.Contains('cgw failover prod'))
$failed = Invoke-Session 'prod' 'failover.ps1' @{ Ping = '10.0.1.10'; From = '203.0.113.20'; Keep = $true } @{}
$told = ConvertFrom-Json -AsHashtable ($failed.lines[0] -replace '^cgw-failover ')
Expect 'a tunnel that is to be changed is switched off and stays off, with a task that switches it on' ($failed.code -eq 0 -and $told.from -eq '203.0.113.20' -and $told.to -eq '203.0.113.10' -and (Get-Server).rules[1].enable -eq 'False' -and "$((Get-Server).tasks['cgw failover prod'].triggers)" -eq 'once startup PT1M')
Expect 'its new rule is on' ((Get-ChangedIds (Push $given)) -eq 'tunnels' -and (Get-Server).rules[1].enable -eq 'True')
$armed = (Get-Server).tasks.Contains('cgw guard prod')
$failed = Invoke-Session 'prod' 'failover.ps1' @{ Ping = '10.0.1.10'; From = '203.0.113.10' } @{}
$told = ConvertFrom-Json -AsHashtable ($failed.lines[0] -replace '^cgw-failover ')
Expect 'and then it is proven, and no task is left' ($failed.code -eq 0 -and $told.to -eq '203.0.113.20' -and (Get-Server).rules[0].enable -eq 'True' -and -not (Get-Server).tasks.Contains('cgw failover prod'))
Expect 'who has come for it over a new connection has disarmed the guard, which would have put the rule back' ($armed -and -not (Get-Server).tasks.Contains('cgw guard prod'))
Expect 'a tunnel of another connection is not switched off' ((Invoke-Session 'prod' 'failover.ps1' @{ Ping = '10.0.1.10'; From = '203.0.113.99' } @{}).error -match 'no tunnel to 203.0.113.99')
(Get-Server).rules[0].enable = 'False'
$before = Get-Snapshot
$refused = Invoke-Session 'prod' 'failover.ps1' @{ Ping = '10.0.1.10'; From = '203.0.113.20'; Keep = $true } @{}
Expect 'the rule of the other tunnel is off: this one is not switched off too' ($refused.code -eq 1 -and $refused.error -match 'the other tunnel, vpn-0abc Tunnel 1, is not on' -and (Get-Server).rules[1].enable -eq 'True' -and (Get-Server).tasks.Count -eq 1)
[IO.File]::Delete((Join-Path $failed.stack 'rules.json'))
$both = Invoke-Captured { & (Join-Path $failed.stack 'failover.ps1') -Enable }
Expect 'what its task runs switches the rules on' ($both.code -eq 0 -and (Get-Server).rules[0].enable -eq 'True')
foreach ($one in @('no-host', 1, 1), @('no-quick', 1, 0), @('silent', 0, 0)) {
    (Get-Server).peer = $one[0]
    $proof = Get-Proof
    Expect "the other end is $($one[0]): no reply, and how far it came" ($proof.received -eq 0 -and $proof.mainMode.Count -eq $one[1] -and $proof.quickMode.Count -eq $one[2])
}
Expect 'without an answer nothing is switched off' ((Invoke-Session 'prod' 'failover.ps1' @{ Ping = '10.0.1.10' } @{}).error -match 'does not answer' -and (Get-Server).rules[0].enable -eq 'True')
Expect 'what is no address is not pinged' ((Invoke-Session 'prod' 'prove.ps1' @{ Ping = '10.0.1.10; x' } @{}).error -match 'not an IPv4 address')
(Get-Server).peer = 'beside'
$proof = Get-Proof
Expect 'what is answered beside the tunnels is not counted' ($proof.received -eq 5 -and $proof.quickMode.Count -eq 1 -and $proof.tunnelBytes.sent -eq 0 -and $proof.tunnelBytes.received -eq 0)
(Get-Server).peer = 'answers'
$version = (Get-Server).version
(Get-Server).version = '6.3.9600'
Expect 'where Windows does not count, none is told' ($null -eq (Get-Proof).tunnelBytes)
(Get-Server).version = $version
$given.Remove('ping')
Expect 'no host any more: the task is gone' ((Push $given).steps.keepalive.now.ping -eq 'absent' -and -not (Get-Server).tasks.Contains('cgw keepalive prod'))
$given.ping = '10.1.0.1'
Expect 'a host that is not behind the tunnels is refused' ((Push $given).error -match 'not in the VPC')
$given.ping = '10.0.1.10'
[void] (Push $given)
[void] (Undo)
Expect 'undo: no task is left' ((Get-Server).tasks.Count -eq 0)

# Texts of netsh may hold the key.
Reset
(Get-History).netshSays = 'refused: '
$run = Push (Get-Given)
Expect 'netsh prints the key: it is taken out of the error' ($run.code -eq 1 -and $run.steps.tunnels.error -match 'exit code 1: refused' -and $run.steps.tunnels.error -match 'auth1psk=\*\*\*' -and (Test-Quiet $run))
Reset
(Get-Server).inForce = 0
$run = Push (Get-Given)
Expect 'a rule that does not come into force is a failure' ($run.code -eq 1 -and $run.steps.tunnels.error -match 'not in force')
Reset
(Get-Server).inForce = 2
Expect 'and so is one that is in force twice' ((Push (Get-Given)).steps.tunnels.error -match 'is in force 2 times')

# Rules of others that lead to the same tunnels, one of them known when the first was switched off.
Reset
$foreign = { param($name, $enable) [ordered]@{ name = $name; enable = $enable; remotetunnelendpoint = '203.0.113.10'; endpoint1 = 'Any'; endpoint2 = '192.168.7.0/24' } }
(Get-Server).rules = @((& $foreign 'An old one' 'False'), (& $foreign 'VPN to Tunnel 1' 'True'))
$others = Get-Snapshot
$given = Get-Given
$given.replaceRules = $true
$run = Push $given
function Get-Enabled { @((Get-Server).rules | ForEach-Object { "$($_.name): $($_.enable)" }) -join ', ' }
Expect 'with consent the rules of others are switched off' ($run.code -eq 0 -and $run.steps['foreign-rules'].changed -and (Get-Enabled) -eq 'An old one: False, VPN to Tunnel 1: False, vpn-0abc Tunnel 1: True, vpn-0abc Tunnel 2: True')
Expect 'and then nothing is to be done, with or without it' ((Get-ChangedIds (Push $given)) -eq '' -and (Get-ChangedIds (Push (Get-Given))) -eq '')
(Get-Server).rules = @((Get-Server).rules) + (& $foreign 'VPN to Tunnel 1 again' 'True')
Expect 'one that comes later is switched off too' ((Get-ChangedIds (Push $given)) -eq 'foreign-rules')
$late = (Get-Server).rules | Where-Object { $_.name -eq 'VPN to Tunnel 1 again' }
$late.remotetunnelendpoint = '192.0.2.7'; $late.enable = 'True'
Expect 'and left alone once its owner has it lead elsewhere' ((Get-ChangedIds (Push $given)) -eq '' -and $late.enable -eq 'True')
$late.remotetunnelendpoint = '203.0.113.10'; $late.enable = 'False'
(Get-Server).boot = (Get-Server).boot.AddHours(1)
$undone = Undo -RemoveRoles
Expect 'an undo switches on what was on' ($undone.code -eq 0 -and (Get-Enabled) -eq 'An old one: False, VPN to Tunnel 1: True, VPN to Tunnel 1 again: True')
(Get-Server).rules = @((Get-Server).rules | Where-Object { $_.name -ne 'VPN to Tunnel 1 again' })
Expect 'and all else is as it was' ((Get-Snapshot) -eq ($others -replace '"boot":"[^"]*"', "`"boot`":$((ConvertTo-Json (Get-Server).boot))"))

Reset
(Get-Server).rules = @((& $foreign 'VPN to Tunnel 1' 'True'), (& $foreign 'VPN to Tunnel 1 again' 'False'))
$given = Get-Given
$given.replaceRules = $true
[void] (Push $given)
(Get-Server).rules[1].enable = 'True'
[void] (Push $given)
$given.tunnels[0].outsideIp = '203.0.113.30'
[void] (Push $given)
[void] (Undo)
Expect 'also when one was switched on in between, and the tunnels have other addresses by now' ((Get-Enabled) -eq 'VPN to Tunnel 1: True, VPN to Tunnel 1 again: True')

# Servers and wishes of other kinds.
Reset
$given = Get-Given
$given.device = 'external'; $given.minimalRoles = $true
$run = Push $given
Expect 'external: the adapter is left alone' ($run.code -eq 0 -and $run.steps['checksum-offload'].skipped -and $null -eq $run.steps['checksum-offload'].error -and (Get-Server).offload.IpIPv4Enabled -eq 'RxTxEnabled')
Expect 'external: minimal roles' ((@((Get-Server).features.Keys) -join ' ') -eq 'RemoteAccess Routing RSAT-RemoteAccess-PowerShell')
Reset
(Get-Server).version = '6.3.9600'; (Get-Server).friendly = $true
$run = Push (Get-Given)
Expect '2012 R2: netsh sets up routing, display names are read' ($run.code -eq 0 -and (Get-Server).access.type -eq 'lanonly')
Expect '2012 R2: again nothing' ((Get-ChangedIds (Push (Get-Given))) -eq '')
foreach ($version in '6.3.9600', '10.0.14393', '10.0.17763', '10.0.20348', '10.0.26100') {
    Reset
    (Get-Server).version = $version
    $before = Get-Snapshot
    $first = Push (Get-Given)
    [void] (Confirm)
    $second = Push (Get-Given)
    $undone = Undo -RemoveRoles
    Expect "Windows $version`: set up, again nothing, undone whole" ($first.code -eq 0 -and (Get-ChangedIds $first) -eq $everything -and (Get-ChangedIds $second) -eq '' -and $undone.code -eq 0 -and (Get-Snapshot) -eq $before)
}
Reset
$given = Get-Given
$given.mainMode.suites = @(@{ keyExchange = 'DH20'; encryption = 'AES256'; hash = 'SHA384' })
foreach ($tunnel in $given.tunnels) { $tunnel.quickMode = 'ESP:AESGCM256-AESGCM256+60min+100000kb'; $tunnel.pfs = 'ecdhp384' }
$given.quickMode = @{ encapsulation = 'ESP'; espHash = 'AESGCM256'; encryption = 'AESGCM256'; minutes = 60; kilobytes = 100000 }
$run = Push $given
Expect 'AES-GCM and ECDH' ($run.code -eq 0 -and (Get-Server).quickMode.proposals[0].ESPHash -eq 'AESGMAC256' -and (Get-Server).mainMode.proposals[0].KeyExchange -eq 'DH20' -and (Get-Server).rules[0].qmpfs -eq 'ecdhp384')
Expect 'AES-GCM and ECDH: again nothing' ((Get-ChangedIds (Push $given)) -eq '')
Reset
(Get-Server).needsRestart = $true
$given = Get-Given
$run = Push $given
Expect 'roles that need a restart: the rest waits for it' ($run.code -eq 0 -and $run.steps.routing.skipped -and $run.steps.routing.error -match 'restart must come first' -and $run.marker -eq (Get-Marker 'changed=2 reboot=true failed=0'))
Restart-Server
$run = Push $given
Expect 'roles that need a restart: after it, the rest is done' ($run.code -eq 0 -and (Get-ChangedIds $run) -eq 'dead-gateway firewall ipsec-settings main-mode mtu quick-mode routing tunnels udp-encapsulation')

# Refusals: the preflight fails, nothing is changed.
$refusals = [ordered]@{
    'not elevated' = { param($g) (Get-Server).label = 'S-1-16-8192' }
    'older than Windows Server 2012 R2' = { param($g) (Get-Server).version = '6.2.9200' }
    'domain controller' = { param($g) (Get-Server).productType = 2 }
    'not a server edition' = { param($g) (Get-Server).productType = 1 }
    'no network adapter' = { param($g) $g.privateIp = '172.31.16.11' }
    'service IKEEXT is disabled' = { param($g) (Get-Server).services.IKEEXT = 'Disabled Stopped' }
    'service MpsSvc does not run' = { param($g) (Get-Server).services.MpsSvc = 'Auto Stopped' }
    'service PolicyAgent does not exist' = { param($g) (Get-Server).services.Remove('PolicyAgent') }
    'off for the profile Public' = { param($g) (Get-Server).firewalls.Public = 'False' }
    "own IPsec rules apply in the profile Domain" = { param($g) (Get-Server).localRules.ipsec = 'False' }
    "own firewall rules apply in the profile Domain" = { param($g) (Get-Server).localRules.firewall = 'False' }
    'a group policy sets IPsec rules itself (Domain isolation)' = { param($g) (Get-Server).policyRules = @('Domain isolation') }
    "the rule 'VPN to Tunnel 1' leads to the tunnel address 203.0.113.10 already" = { param($g)
        (Get-Server).rules = @([ordered]@{ name = 'VPN to Tunnel 1'; enable = 'True'; remotetunnelendpoint = '203.0.113.10' }) }
    "the rule 'Old firewall' leads these networks through a tunnel to 192.0.2.99 (172.31.16.0/20 to 10.0.0.0/255.255.0.0): disable it" = { param($g)
        (Get-Server).rules = @([ordered]@{ name = 'Old firewall'; enable = 'True'; remotetunnelendpoint = '192.0.2.99'; endpoint1 = '172.31.16.0/20'; endpoint2 = '10.0.0.0/16' }) }
    "the rule 'All of it' leads these networks through a tunnel to 192.0.2.99 (172.31.16.10 to Any), and more than these: narrow" = { param($g)
        (Get-Server).rules = @([ordered]@{ name = 'All of it'; enable = 'True'; remotetunnelendpoint = '192.0.2.99'; endpoint1 = '172.31.16.10'; endpoint2 = 'Any' }) }
    "the rule 'Two branches' leads these networks through a tunnel to 192.0.2.99 (172.31.0.0/255.255.0.0 to 10.0.0.0/255.255.0.0 192.168.50.0/24), and more than these: narrow" = { param($g)
        $g.replaceRules = $true
        (Get-Server).rules = @([ordered]@{ name = 'Two branches'; enable = 'True'; remotetunnelendpoint = '192.0.2.99'; endpoint1 = '172.31.0.0/16'; endpoint2 = @('10.0.0.0/16', '192.168.50.0/24') }) }
    "the rule 'Some of it' leads these networks" = { param($g)
        (Get-Server).rules = @([ordered]@{ name = 'Some of it'; enable = 'True'; remotetunnelendpoint = '192.0.2.99'; endpoint1 = '172.31.16.10'; endpoint2 = '10.0.5.1-10.0.5.9' }) }
    'already set up otherwise (VpnStatus): add' = { param($g) (Get-Server).access.VpnStatus = 'Installed' }
    'set up otherwise (DAStatus, VpnS2SStatus, SstpProxyStatus)' = { param($g) foreach ($mode in 'DAStatus', 'VpnS2SStatus', 'SstpProxyStatus') { (Get-Server).access[$mode] = 'Installed' } }
    "covers a part of the server's own subnet (172.31.16.0/20)" = { param($g) $g.siteCidr = '172.31.17.0/24'; $g.cloudCidr = '172.31.20.0/24' }
    'far too wide' = { param($g) $g.cloudCidr = '0.0.0.0/0' }
    'overlaps Endpoint 1' = { param($g) $g.siteCidr = '10.0.4.0/24' }
    'link-local' = { param($g) $g.cloudCidr = '169.254.0.0/16' }
    "server's own address" = { param($g) $g.cloudCidr = '172.31.16.0/24' }
    'tunnel address 203.0.113.10' = { param($g) $g.cloudCidr = '203.0.113.0/24' }
    'would be cut off' = { param($g) (Get-Server).sessions = @(@{ from = '198.51.100.7'; port = 22 }, @{ from = '::ffff:10.0.3.4'; port = 3389 }) }
    'covers 10.0.3.5' = { param($g) $g.adminPorts += 2222; (Get-Server).sessions = @(@{ from = '10.0.3.5'; port = 2222 }) }
}
foreach ($refusal in $refusals.GetEnumerator()) {
    Reset
    $given = Get-Given
    & $refusal.Value $given
    $before = Get-Snapshot
    $run = Push $given
    # Each says what helps.
    $hasHint = @($run.steps.preflight.error -split '; ' | Where-Object { $_ -notmatch ': [a-z]|, take |; connect' }).Count -eq 0
    Expect "refused: $($refusal.Key)" ($run.code -eq 1 -and $hasHint -and $run.steps.preflight.error -match [regex]::Escape($refusal.Key) -and (Get-Snapshot) -eq $before -and (Get-History).calls -eq 0 -and $run.steps.tunnels.skipped)
}
$shapes = [ordered]@{
    'keys.txt: two tunnels have the same key' = { param($g) $g.tunnels[1].presharedKey = $g.tunnels[0].presharedKey }
    'not one that AWS allows' = { param($g) $g.tunnels[1].presharedKey = '0' + $keys[1] }
    'not an IPv4 network' = { param($g) $g.cloudCidr = '10.0.0.1/16' }
    'name of a tunnel is not allowed' = { param($g) $g.tunnels[0].name = 'a" auth1psk=x' }
    'not a method of netsh' = { param($g) $g.tunnels[1].quickMode = 'ESP:SHA1-AES128 x=y' }
    'adminPorts names no port' = { param($g) $g.adminPorts = @() }
    'parameters.json: there are not two tunnels' = { param($g) $g.tunnels = @($g.tunnels[0]) }
}
foreach ($shape in $shapes.GetEnumerator()) {
    Reset
    $given = Get-Given
    & $shape.Value $given
    $run = Push $given
    Expect "wrong parameters: $($shape.Key)" ($run.code -eq 1 -and $run.lines.Count -eq 0 -and $run.error -match $shape.Key -and (Get-History).calls -eq 0 -and (Test-Quiet $run))
}
# Whatever stands in a text, it is refused and nothing is called, or it arrives as it is; none of it is ever run.
$pwned = Join-Path $Folder 'pwned'
$hostile = "`$([IO.File]::WriteAllText('$pwned',''))", "'; [IO.File]::WriteAllText('$pwned',''); '", '"& calc.exe &"', '%TEMP%^&', "line`nbreak", "nul`0", ([char] 0xe9 + 'cole'), 'x auth1psk=y', '../..', '`n'
$texts = [ordered]@{
    stack = { param($g, $v) $g.stack = $v }; connection = { param($g, $v) $g.connection = $v }; device = { param($g, $v) $g.device = $v }
    privateIp = { param($g, $v) $g.privateIp = $v }; siteCidr = { param($g, $v) $g.siteCidr = $v }; cloudCidr = { param($g, $v) $g.cloudCidr = $v }; ping = { param($g, $v) $g.ping = $v }
    name = { param($g, $v) $g.tunnels[0].name = $v }; outsideIp = { param($g, $v) $g.tunnels[0].outsideIp = $v }; method = { param($g, $v) $g.tunnels[0].quickMode = $v }
    pfs = { param($g, $v) $g.tunnels[0].pfs = $v }; key = { param($g, $v) $g.tunnels[0].presharedKey = $v }
    keyExchange = { param($g, $v) $g.mainMode.suites[0].keyExchange = $v }; encryption = { param($g, $v) $g.mainMode.suites[0].encryption = $v }; hash = { param($g, $v) $g.mainMode.suites[0].hash = $v }
    espHash = { param($g, $v) $g.quickMode.espHash = $v }; encapsulation = { param($g, $v) $g.quickMode.encapsulation = $v }; cipher = { param($g, $v) $g.quickMode.encryption = $v }
}
$wrong = @()
foreach ($text in $texts.Keys) {
    foreach ($value in $hostile) {
        Reset
        $given = Get-Given
        & $texts[$text] $given $value
        $run = Push $given
        $isRefused = $run.code -ne 0 -and (Get-History).calls -eq 0 -and (Get-Snapshot) -eq $plain
        if (-not ($isRefused -or ($text -eq 'connection' -and $run.code -eq 0)) -or (Test-Path $pwned)) { $wrong += "$text is $value" }
    }
}
foreach ($value in $hostile) {
    $asked = @((Confirm @{ At = $value }), (Invoke-Session 'prod' 'prove.ps1' @{ Ping = $value } @{}), (Invoke-Session 'prod' 'failover.ps1' @{ Ping = '10.0.1.10'; From = $value } @{}),
        (Invoke-Session 'prod' 'follow.ps1' @{ Digest = $value; Start = 'run.ps1' } @{}), (Invoke-Session $value 'confirm.ps1' @{} @{}), (Invoke-Session 'prod' $value @{} @{}))
    if (@($asked | Where-Object { $_.code -eq 0 }).Count -gt 0 -or (Test-Path $pwned)) { $wrong += "an argument is $value" }
}
Expect "hostile texts in $($texts.Count) parameters and 6 arguments run nothing $($wrong -join '; ')" ($wrong.Count -eq 0)
Reset
$foreignName = "B$([char] 0xfc)ro `"1`" `$(x) $([char] 0x20ac)"
(Get-Server).rules = @([ordered]@{ name = $foreignName; enable = 'True'; remotetunnelendpoint = '203.0.113.10' })
$run = Push (Get-Given)
Expect 'a name in another script is told as it is' ($run.steps.preflight.error.Contains("the rule '$foreignName' leads") -and $run.lines[0] -notmatch '[^\x20-\x7e]')
Reset
(Get-Server).policyExemptions = 'Icmp, Dhcp'
Expect 'a group policy that exempts ICMP is a failure' ((Push (Get-Given)).steps['ipsec-settings'].error -match 'group policy')

# What Module Logging would log: the parameters of cmdlets. Those of a script's own functions it does not.
Reset
$trace = Join-Path $Folder 'trace.txt'
$run = Push (Get-Given)
$bound = @([regex]::Matches([IO.File]::ReadAllText($trace), '(?s)BIND arg \[(.*?)\] to param \[(\w+)\] SUCCESSFUL') |
    Where-Object { $value = $_.Groups[1].Value; @($keys | Where-Object { $value.Contains($_) }) } | ForEach-Object { $_.Groups[2].Value } | Sort-Object -Unique)
Expect "no cmdlet is given a key, only functions are ($bound)" ($run.code -eq 0 -and 'Rule' -in $bound -and -not @($bound | Where-Object { $_ -notin 'Rule', 'Text', 'Line' }))
[IO.File]::Delete($trace)
$trace = $null

# The folder, and two runs at once.
Reset
[void] [IO.Directory]::CreateDirectory((Join-Path $Folder 'cgw'))
(Get-History).acls[(Join-Path $Folder 'cgw')] = 'O:BUG:BUD:(A;;FA;;;WD)'
$run = Push (Get-Given)
Expect 'a folder that belongs to somebody else is refused' ($run.code -eq 1 -and $run.error -match 'belongs to another user' -and $run.left.Count -eq 0)
Reset
[void] (Push (Get-Given))
$held = [IO.File]::Open((Join-Path $Folder 'cgw/lock'), 'Open', 'ReadWrite', 'None')
$run = Push (Get-Given)
$held.Dispose()
Expect 'a second run at the same time: exit code 3' ($run.code -eq 3 -and $run.error -match 'another run' -and $run.lines.Count -eq 0)
# A person copies the folder and runs run.ps1 there.
Reset
$copy = Join-Path $Folder 'by-hand'
Copy-Item -Recurse $Playbook $copy
$split = Split-Given (Get-Given)
[IO.File]::WriteAllText((Join-Path $copy 'parameters.json'), $split.parameters)
[IO.File]::WriteAllText((Join-Path $copy 'keys.txt'), $split.keys)
[IO.File]::WriteAllText((Join-Path $copy 'invoices.xls'), '')
$run = Invoke-Captured { & (Join-Path $copy 'run.ps1') }
Expect 'by hand: it says what to do against the guard' ($run.code -eq 0 -and $run.lines[-1] -match 'unless you run .*cgw/prod/confirm.ps1 from a new session' -and (Get-Server).tasks.Contains('cgw guard prod'))
$there = Join-Path $Folder 'cgw/prod'
$sure = Invoke-Captured { & (Join-Path $there 'confirm.ps1') }
Expect 'by hand: the same, and the keys are gone' ($sure.code -eq 0 -and (Get-Snapshot) -eq $final -and $run.marker -match 'cgw-done by-hand changed=11' -and -not (Test-Path (Join-Path $copy 'keys.txt')) -and -not (Test-Path (Join-Path $there 'keys.txt')))
Expect 'by hand: the scripts are where only Administrators can write' ((Get-History).acls[$there] -eq 'O:BAG:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)')
Expect 'by hand: only what is ours is copied' (-not (Test-Path (Join-Path $there 'invoices.xls')) -and (Test-Path (Join-Path $there 'undo.ps1')))
$run = Invoke-Captured { & (Join-Path $copy 'run.ps1') }
Expect 'by hand again, without the keys: it says where they went' ($run.code -eq 1 -and $run.error -match 'there is no keys.txt: a run reads it and deletes it' -and (Get-Snapshot) -eq $final)
$run = Invoke-Captured { & (Join-Path $there 'undo.ps1') -RemoveRoles }
Expect 'by hand: undone, whole' ($run.code -eq 0 -and (Get-Snapshot) -eq $plain -and $run.marker -match 'cgw-done by-hand')
foreach ($stack in '..', 'a/b', '', '-x') { $g = Get-Given; $g.stack = $stack; Expect "the stack's name '$stack' is refused" ((Push $g).error -match 'not allowed') }

# Several stacks on one server: each has its folder and its rules, and the settings of the server are of all.
function Get-OtherGiven {
    $given = Get-Given
    $given.stack = 'test'; $given.connection = 'vpn-0bbb'; $given.cloudCidr = '10.2.0.0/16'
    foreach ($n in 0, 1) { $given.tunnels[$n].name = "vpn-0bbb Tunnel $($n + 1)"; $given.tunnels[$n].outsideIp = "203.0.113.$(50 + $n)"; $given.tunnels[$n].presharedKey = "KeyOfTheOther$n" }
    $given
}
function Set-Up($Given) {
    $run = Push $Given
    [void] (Confirm -Stack $Given.stack)
    $run
}
# All but the rules and openings, which are each stack's own.
function Get-Settings {
    $settings = ConvertFrom-Json -AsHashtable (Get-Snapshot)
    foreach ($one in 'rules', 'openings') { $settings.Remove($one) }
    ConvertTo-Json -Depth 9 -Compress $settings
}
foreach ($prepare in { }, { Set-OwnThings }) {
    foreach ($order in @('prod', 'test'), @('test', 'prod')) {
        Reset
        & $prepare
        $before = Get-Snapshot
        $others = (Get-Server).rules.Count
        [void] (Set-Up (Get-Given))
        $shared = Get-Settings
        $run = Set-Up (Get-OtherGiven)
        $name = "two stacks$(if ($others) { ' on a server with own settings' }), $($order[0]) leaves first"
        Expect "$name`: the second one adds its rules and openings, and a restart is due for it too" ($run.code -eq 0 -and (Get-ChangedIds $run) -eq 'firewall tunnels' -and (Get-Settings) -eq $shared -and (Get-Server).rules.Count -eq $others + 4 -and $run.marker -match 'reboot=true')
        Expect "$name`: again, nothing is changed" ((Get-ChangedIds (Push (Get-Given))) -eq '' -and (Get-ChangedIds (Push (Get-OtherGiven))) -eq '')
        $run = Undo -RemoveRoles -Stack $order[0]
        $left = @((Get-Server).rules | Where-Object { $_.name -match '^vpn' } | ForEach-Object { $_.name.Substring(0, 8) } | Select-Object -Unique)
        Expect "$name`: its rules and openings go, all else stays" ($run.code -eq 0 -and (Get-ChangedIds $run) -eq 'firewall tunnels' -and (Get-Settings) -eq $shared -and $left.Count -eq 1 -and $left[0] -eq @{ prod = 'vpn-0bbb'; test = 'vpn-0abc' }[$order[0]] -and -not (Get-Server).openings.Contains("cgw-$($order[0])-ike"))
        Expect "$name`: the other one is still whole" ((Get-ChangedIds (Push $(if ($order[1] -eq 'prod') { Get-Given } else { Get-OtherGiven }))) -eq '')
        $run = Undo -RemoveRoles -Stack $order[1]
        Expect "$name`: the last one leaves the server as it was, whole" ($run.code -eq 0 -and (Get-Snapshot) -eq $before -and -not (Test-Path (Join-Path $Folder 'cgw/_server')))
        if ((Get-Snapshot) -ne $before) { $before; Get-Snapshot }
    }
}
Reset
[void] (Set-Up (Get-Given))
(Get-Server).firewalls.Public = 'False'
$refused = Get-OtherGiven
$refused.mainMode.suites = @(@{ keyExchange = 'DH20'; encryption = 'AES256'; hash = 'SHA384' })
[void] (Push $refused)
(Get-Server).firewalls.Public = 'True'
Expect 'a stack that was refused needs nothing: nothing is offered for it, and the other one leaves the server as it was' ((Get-ChangedIds (Push (Get-Given))) -eq '' -and (Undo -RemoveRoles).code -eq 0 -and (Get-Snapshot) -eq $plain)
Expect 'and it has nothing to undo' ((Undo -RemoveRoles -Stack 'test').code -eq 0 -and (Get-Snapshot) -eq $plain)
Reset
$given = Get-Given
$given.minimalRoles = $true
[void] (Set-Up $given)
$run = Set-Up (Get-OtherGiven)
Expect 'another stack with more roles: they are added' ($run.code -eq 0 -and (Get-ChangedIds $run) -eq 'firewall roles tunnels')
[void] (Undo -RemoveRoles -Stack 'test')
Expect 'it leaves, and its roles stay until the last one does' ((Get-Server).features.Contains('NPAS') -and (Undo -RemoveRoles).code -eq 0 -and (Get-Snapshot) -eq $plain)
# Each has a crypto profile of its own, and changes it whenever it wants.
function Set-Profile($Given, [string[]] $Suites, [string] $Quick) {
    $Given.mainMode.suites = @($Suites | ForEach-Object { $parts = $_.Split('-'); @{ keyExchange = $parts[0]; encryption = $parts[1]; hash = $parts[2] } })
    $Given.quickMode.espHash, $Given.quickMode.encryption = $Quick.Split('-')
    foreach ($tunnel in $Given.tunnels) { $tunnel.quickMode = "ESP:$Quick+60min+100000kb" }
    $Given
}
function Get-Offer {
    $main = @((Get-Server).mainMode.proposals | ForEach-Object { "$($_.KeyExchange)-$($_.Encryption)-$($_.Hash)" }) -join ' '
    "$main, $(@((Get-Server).quickMode.proposals | ForEach-Object { "$($_.ESPHash)-$($_.Encryption)" }) -join ' ')"
}
$strong, $modern, $guide = 'DH20-AES256-SHA384', 'DH14-AES256-SHA256', 'DH2-AES128-SHA1'
foreach ($prepare in { }, { Set-OwnThings }) {
    Reset
    & $prepare
    $before = Get-Snapshot
    $name = "two stacks with profiles of their own$(if ((Get-Server).mainMode) { ' on a server with own settings' })"
    [void] (Set-Up (Get-Given))
    $given = Set-Profile (Get-OtherGiven) @($strong) 'AESGCM256-AESGCM256'
    $run = Set-Up $given
    $all = "$strong $modern $guide, SHA256-AES256 AESGMAC256-AESGCM256"
    Expect "$name`: all is offered, the strongest first" ($run.code -eq 0 -and (Get-ChangedIds $run) -eq 'firewall main-mode quick-mode tunnels' -and (Get-Offer) -eq $all)
    Expect "$name`: again nothing, whichever comes" ((Get-ChangedIds (Push (Get-Given))) -eq '' -and (Get-ChangedIds (Push $given)) -eq '' -and (Get-Offer) -eq $all)
    $first = Set-Profile (Get-Given) @($guide) 'SHA1-AES128'
    $run = Set-Up $first
    Expect "$name`: the first one changes its profile, and what nobody wants goes" ($run.code -eq 0 -and (Get-Offer) -eq "$strong $guide, SHA1-AES128 AESGMAC256-AESGCM256")
    $given = Set-Profile $given @($modern, $guide) 'SHA256-AES256'
    Expect "$name`: and then the second one" ((Set-Up $given).code -eq 0 -and (Get-Offer) -eq "$modern $guide, SHA256-AES256 SHA1-AES128" -and (Get-ChangedIds (Push $first)) -eq '')
    $run = Undo -RemoveRoles
    Expect "$name`: one leaves, and with it what it alone wanted" ($run.code -eq 0 -and (Get-Offer) -eq "$modern $guide, SHA256-AES256" -and (Get-ChangedIds (Push $given)) -eq '')
    $run = Undo -RemoveRoles -Stack 'test'
    Expect "$name`: the last one leaves the server as it was, whole" ($run.code -eq 0 -and (Get-Snapshot) -eq $before)
    if ((Get-Snapshot) -ne $before) { $before; Get-Snapshot }
}
Reset
[void] (Set-Up (Get-Given))
[void] (Set-Up (Set-Profile (Get-OtherGiven) @($strong) 'AESGCM256-AESGCM256'))
(Get-Server).mainMode.proposals = @((Get-Server).mainMode.proposals[0])
$run = Undo -RemoveRoles -Stack 'test'
Expect 'what somebody has changed since is left to them by who leaves first, too' ((Get-Offer) -eq "$strong, SHA256-AES256" -and 'suites' -in $run.steps['main-mode'].kept)
# A change of profile, or the undo of one of two, is cut off at each of its changes.
foreach ($after in $false, $true) {
    $wrong = @()
    foreach ($n in 1..8) {
        foreach ($cut in { [void] (Set-Up (Set-Profile (Get-Given) @($strong) 'SHA1-AES128')) }, { [void] (Undo -RemoveRoles) }) {
            Reset
            [void] (Set-Up (Get-Given))
            [void] (Set-Up (Set-Profile (Get-OtherGiven) @($guide) 'SHA1-AES128'))
            (Get-History).after = $after
            (Get-History).failAt = (Get-History).calls + $n
            & $cut
            (Get-History).failAt = 0
            $undone = -not (Test-Path (Join-Path $Folder 'cgw/prod')) -or (Undo -RemoveRoles).code -eq 0
            if (-not $undone -or (Get-Offer) -ne "$guide, SHA1-AES128" -or (Undo -RemoveRoles -Stack 'test').code -ne 0 -or (Get-Snapshot) -ne $plain) { $wrong += "$n of {$cut}" }
        }
    }
    Expect "it is cut off $(if ($after) { 'after' } else { 'before' }) a change: each leaves what the other wants, and both the server as it was $($wrong -join '; ')" ($wrong.Count -eq 0)
}
Reset
[void] (Set-Up (Get-Given))
$given = Get-OtherGiven
$given.cloudCidr = '10.0.0.0/16'; $given.replaceRules = $true
$before = Get-Snapshot
$run = Push $given
Expect 'the rules of another stack are not switched off, whatever was allowed' ($run.code -eq 1 -and $run.steps.preflight.error -match 'it is that of the stack prod on this server, take that one down first' -and (Get-Snapshot) -eq $before)
# A run of the second one, or the undo of the first one, is cut off.
$wrong = @()
foreach ($n in 1..6) {
    Reset
    [void] (Set-Up (Get-Given))
    (Get-History).failAt = (Get-History).calls + $n
    [void] (Push (Get-OtherGiven))
    (Get-History).failAt = 0
    [void] (Confirm -Stack 'test')
    if ((Undo -RemoveRoles).code -ne 0 -or (Undo -RemoveRoles -Stack 'test').code -ne 0 -or (Get-Snapshot) -ne $plain) { $wrong += "run $n" }
    Reset
    [void] (Set-Up (Get-Given))
    [void] (Set-Up (Get-OtherGiven))
    (Get-History).failAt = (Get-History).calls + $n
    [void] (Undo -RemoveRoles)
    (Get-History).failAt = 0
    if ((Undo -RemoveRoles -Stack 'test').code -ne 0 -or (Test-Path (Join-Path $Folder 'cgw/prod')) -and (Undo -RemoveRoles).code -ne 0 -or (Get-Snapshot) -ne $plain) { $wrong += "undo $n" }
}
Expect "one of two stacks is cut off, then both are undone, whole $($wrong -join ', ')" ($wrong.Count -eq 0)

# As long as a stack is not confirmed its guard would put back the policy without what others have changed since, so they wait.
Reset
[void] (Set-Up (Get-Given))
[void] (Set-Up (Get-OtherGiven))
$given = Get-Given
$given.tunnels[1].presharedKey = $keys[2]
[void] (Push $given)
$before = Get-Snapshot
$changed = Get-OtherGiven
$changed.tunnels[0].presharedKey = 'KeyOfTheOther7'
$run = Push $changed
Expect 'a stack is not confirmed: a run of another one has exit code 3, changes nothing and leaves no key' ($run.code -eq 3 -and $run.error -match 'another run is under way: that of prod is not confirmed yet' -and $run.lines.Count -eq 0 -and (Get-Snapshot) -eq $before -and 'keys.txt' -notin $run.left -and -not $run.all.Contains('KeyOfTheOther7'))
$run = Undo -Stack 'test'
Expect 'an undo of another one too' ($run.code -eq 3 -and $run.error -match 'is not confirmed yet' -and (Get-Snapshot) -eq $before -and (Test-Path $run.stack))
$run = Invoke-Session 'test' 'failover.ps1' @{ Ping = '10.2.1.10' } @{}
Expect 'and its failover' ($run.code -eq 3 -and (Get-Snapshot) -eq $before)
$run = Invoke-Captured { & (Join-Path $Folder 'cgw/test/undo.ps1') }
Expect 'and what a person does by hand' ($run.code -eq 3 -and (Get-Snapshot) -eq $before)
$copied = Join-Path $Folder 'third'
Copy-Item -Recurse $Playbook $copied
$third = Get-OtherGiven
$third.stack = 'third'
$split = Split-Given $third
[IO.File]::WriteAllText((Join-Path $copied 'parameters.json'), $split.parameters)
[IO.File]::WriteAllText((Join-Path $copied 'keys.txt'), $split.keys)
$run = Invoke-Captured { & (Join-Path $copied 'run.ps1') }
Expect 'and a first run by hand, whose keys stay where they are' ($run.code -eq 3 -and (Get-Snapshot) -eq $before -and (Test-Path (Join-Path $copied 'keys.txt')) -and -not (Test-Path (Join-Path $Folder 'cgw/third/keys.txt')))
[void] (Confirm -Stack 'test')
Expect 'to confirm another one disarms nothing' ((Get-Server).tasks.Contains('cgw guard prod') -and (Get-Snapshot) -eq $before)
(Get-Server).rules[2].enable = 'False'
$run = Invoke-Captured { & (Join-Path $Folder 'cgw/test/failover.ps1') -Enable }
Expect 'a rule that was off is switched on all the same, and looked at again' ($run.code -eq 0 -and (Get-Server).rules[2].enable -eq 'True' -and "$((Get-Server).tasks['cgw failover test'].triggers)" -eq 'once startup PT1M')
$run = Push $given
Expect 'the stack itself goes on' ($run.code -eq 0)
$given.tunnels[1].presharedKey = 'KeyOfTunnelTwo9'
[void] (Push $given)
Start-Guard
Expect 'the guard comes: the other stack is as it was' ((Get-Server).rules.Count -eq 4 -and (Get-Server).rules[1].auth1psk -eq $keys[2] -and (Get-ChangedIds (Push (Get-OtherGiven))) -eq '')
$run = Push $changed
Expect 'and after it the run of the other one goes on' ($run.code -eq 0 -and (Get-ChangedIds $run) -eq 'tunnels')
Expect 'now the first one waits, until that is confirmed' ((Push $given).code -eq 3 -and (Confirm -Stack 'test').code -eq 0 -and (Push $given).code -eq 0 -and (Confirm).state.guard -eq 'armed')
[void] (Push $changed)
[void] (Confirm -Stack 'test')
Reset
[void] (Push (Get-Given))
(Get-Server).tasks.Remove('cgw guard prod')
Expect 'a guard that was never armed keeps nobody waiting' ((Push (Get-OtherGiven)).code -eq 0)
Reset
[void] (Set-Up (Get-Given))
[void] (Confirm @{ Restart = $true })
$run = Push (Get-OtherGiven)
Start-Guard
Expect 'a guard without a policy keeps nobody waiting, but waits itself for that of the other one' ($run.code -eq 0 -and (Get-Server).rules.Count -eq 4 -and (Get-Server).tasks.Contains('cgw guard prod'))
Start-Timer 'cgw guard test'
Start-Guard
Expect 'and each of them comes' ((Get-Server).rules.Count -eq 0 -and (Get-Server).tasks.Count -eq 0)

# The run of another stack holds the server: now, or as soon as the task of this one begins.
Reset
[void] (Set-Up (Get-Given))
[void] (Set-Up (Get-OtherGiven))
$before = Get-Snapshot
function Enter-Lock { [IO.File]::Open((Join-Path $Folder 'cgw/lock'), 'Open', 'ReadWrite', 'None') }
$held = Enter-Lock
$runs = [ordered]@{ 'an undo' = Undo -Stack 'test'; 'a failover' = Invoke-Session 'test' 'failover.ps1' @{ Ping = '10.2.1.10' } @{}; 'a run' = Push $changed }
$runs['a run without a bundle'] = Invoke-Session 'test' 'follow.ps1' @{ Digest = $digest; Start = 'run.ps1' } @{}
$held.Dispose()
foreach ($one in $runs.Keys) { Expect "another run is under way: $one has exit code 3" ($runs[$one].code -eq 3 -and $runs[$one].error -match 'another run' -and $runs[$one].lines.Count -eq 0 -and (Get-Snapshot) -eq $before) }
$direct = $global:RunFile
$global:RunFile = { param($Path, $Named) $held = [IO.File]::Open((Join-Path $env:ProgramData 'cgw/lock'), 'Open', 'ReadWrite', 'None'); try { & $Path @Named } finally { $held.Dispose() } }
$runs = [ordered]@{ 'an undo' = Undo -Stack 'test'; 'a run' = Push $changed }
$late = Invoke-Session 'test' 'follow.ps1' @{ Digest = $digest } @{}
$global:RunFile = $direct
foreach ($one in $runs.Keys) { Expect "another run begins in the same moment: $one has exit code 3, and leaves nothing" ($runs[$one].code -eq 3 -and $runs[$one].error -match 'another run' -and (Get-Snapshot) -eq $before -and 'keys.txt' -notin $runs[$one].left) }
Expect 'who follows it later is told too' ($late.code -eq 3 -and $late.error -match 'another run')
foreach ($one in 'run.ps1', 'undo.ps1') {
    [IO.File]::WriteAllText((Join-Path $Folder 'cgw/test/keys.txt'), 'x')
    $held = Enter-Lock
    $alone = Invoke-Captured { & (Join-Path $Folder "cgw/test/$one") -Digest 'abc' }
    $byHand = Invoke-Captured { & (Join-Path $Folder "cgw/test/$one") }
    $held.Dispose()
    Expect "the client has gone meanwhile: what $one could not read it deletes, and what a person does leaves the journal alone" ($alone.code -eq 3 -and $byHand.code -eq 3 -and (Get-Snapshot) -eq $before -and -not (Test-Path (Join-Path $Folder 'cgw/test/keys.txt')) -and [IO.File]::ReadAllText((Join-Path $Folder 'cgw/test/journal.jsonl')) -eq "cgw-run abc`r`ncgw-failed another run is under way`r`n")
}
$run = Push $changed
Expect 'and afterwards it runs' ($run.code -eq 0 -and (Get-ChangedIds $run) -eq 'tunnels' -and (Confirm -Stack 'test').code -eq 0 -and (Undo -Stack 'test').code -eq 0)
exit $failures
