# Runs the playbook's own bootstrap, run.ps1 and steps against the modelled server: fresh, again, broken at every change, and
# on servers that differ. One line a case; the exit code is the number of cases that do not hold.
param([string] $Playbook, [string] $Folder)
# A case that cannot even be judged ends the run, and not well.
$ErrorActionPreference = 'Stop'
Import-Module (Join-Path $PSScriptRoot 'Server.psm1') -Force -DisableNameChecking
Install-Stand (Join-Path $PSScriptRoot '../data/windows-commands.json')
$env:ProgramData = $Folder
$env:SSH_CONNECTION = '198.51.100.7 50000 172.31.16.10 22'
$failures = 0
$digest = '0123456789abcdef'
$keys = 'KeyOfTunnelOne1', 'KeyOfTunnel_Two.2', 'AnotherKeyForTwo3'

function Expect([string] $What, $Holds) {
    if ($Holds) { "ok     $What" } else { "WRONG  $What"; $script:failures++ }
}

function Get-Given {
    ConvertFrom-Json -AsHashtable @'
{"version":1,"stack":"prod","connection":"vpn-0abc","device":"ec2","privateIp":"172.31.16.10","siteCidr":"172.31.0.0/16",
 "cloudCidr":"10.0.0.0/16","minimalRoles":false,"reboot":"never",
 "mainMode":{"suites":[{"keyExchange":"DH14","encryption":"AES256","hash":"SHA256"},{"keyExchange":"DH2","encryption":"AES128","hash":"SHA1"}],"minutes":480,"sessions":0},
 "quickMode":{"netsh":"ESP:SHA256-AES256+60min+100000kb","encapsulation":"ESP","espHash":"SHA256","encryption":"AES256","minutes":60,"kilobytes":100000,"pfs":"dhgroup14"},
 "tunnels":[{"name":"vpn-0abc Tunnel 1","outsideIp":"203.0.113.10","presharedKey":"KeyOfTunnelOne1"},{"name":"vpn-0abc Tunnel 2","outsideIp":"203.0.113.20","presharedKey":"KeyOfTunnel_Two.2"}]}
'@
}

$bootstrap = Join-Path $Folder 'bootstrap.ps1'
Copy-Item (Join-Path $Playbook 'bootstrap.ps1') $bootstrap
$files = @{}
foreach ($file in Get-ChildItem $Playbook -File) { if ($file.Name -ne 'bootstrap.ps1') { $files[$file.Name] = [Convert]::ToBase64String([IO.File]::ReadAllBytes($file.FullName)) } }

# Runs a script block, and gives the exit code, the steps' lines by id, the marker, and all that was said.
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
    [pscustomobject] @{ code = $code; steps = $steps; marker = "$($lines | Where-Object { $_ -match '^cgw-(un)?done' })"; lines = $lines; error = $err.ToString() }
}

# One push, as the client does it. Gives the exit code, the steps' lines by id, the marker, all text, and what lies in the folder.
function Push($Given, [switch] $Keep) {
    $stack = Join-Path $Folder "cgw/$($Given.stack)"
    $bundle = @{ stack = $Given.stack; digest = $digest; files = @{} + $files }
    $bundle.files['parameters.json'] = [Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes((ConvertTo-Json $Given -Depth 6)))
    $ran = Invoke-Captured { ConvertTo-Json $bundle -Compress | & $bootstrap }
    $left = @(Get-ChildItem $stack -File -ErrorAction SilentlyContinue | ForEach-Object { $_.Name })
    $texts = @($left | ForEach-Object { [IO.File]::ReadAllText((Join-Path $stack $_)) })
    $all = ($ran.lines + $ran.error + $texts + (Get-History).arguments) -join "`n"
    $ran | Add-Member -PassThru -NotePropertyMembers @{ all = $all; left = $left; stack = $stack }
}
# What a person runs in the folder of the stack to take it all back.
function Undo([switch] $RemoveRoles, [string] $Stack = 'prod') {
    $folder = Join-Path $Folder "cgw/$Stack"
    $ran = Invoke-Captured { & (Join-Path $folder 'undo.ps1') -RemoveRoles:$RemoveRoles }
    $ran | Add-Member -PassThru -NotePropertyMembers @{ left = @(Get-ChildItem $folder -File | ForEach-Object { $_.Name }) }
}
function Reset { New-Server; if (Test-Path (Join-Path $Folder 'cgw')) { Remove-Item -Recurse -Force (Join-Path $Folder 'cgw') } }
# A push to a fresh server whose nth change fails, before or after it has its effect.
function Push-Failing([int] $N, [bool] $After) {
    Reset
    (Get-History).failAt = $N
    (Get-History).after = $After
    Push (Get-Given)
    (Get-History).failAt = 0
}
function Test-Quiet($Run) { @($keys | Where-Object { $Run.all.Contains($_) }).Count -eq 0 -and 'parameters.json' -notin $Run.left -and 'rules.netsh' -notin $Run.left }
function Get-ChangedIds($Run) { @($Run.steps.Values | Where-Object { $_.changed } | ForEach-Object { $_.id } | Sort-Object) -join ' ' }
$everything = 'checksum-offload dead-gateway firewall ipsec-settings main-mode quick-mode roles routing tunnels udp-encapsulation'

# Fresh, and again.
Reset
$plain = Get-Snapshot
$run = Push (Get-Given)
$final = Get-Snapshot
$changes = (Get-History).calls
Expect 'fresh: exit code 0' ($run.code -eq 0)
if ($run.code -ne 0) { $run.lines; $run.error }
Expect "fresh: every step but the preflight changes something ($(Get-ChangedIds $run))" ((Get-ChangedIds $run) -eq $everything)
Expect 'fresh: the marker says so, and asks for a restart' ($run.marker -eq "cgw-done $digest changed=10 reboot=true failed=0")
Expect 'fresh: one line a step and the marker, nothing else' ($run.lines.Count -eq 12 -and $run.error -eq '')
Expect 'fresh: the fields of a line are in order' ($run.lines[1] -cmatch '^\{"id":"checksum-offload","was":\{.*\},"now":\{.*\},"changed":true,"reboot":true,"error":null\}$')
Expect 'fresh: no key is told or left behind' (Test-Quiet $run)
Expect 'fresh: the file of the rules was protected before netsh read it' ((Get-History).unprotected -eq 0 -and (Get-History).arguments.Count -eq 2)
Expect 'fresh: the parameters were gone before anything was written' ((Get-History).parametersSeen -eq 0)
Expect 'fresh: no restart with reboot=never' ((Get-History).shutdowns -eq 0)
Expect 'fresh: the folder belongs to Administrators' ((Get-History).acls[$run.stack] -eq 'O:BAG:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)')
$server = Get-Server
Expect 'fresh: two rules, each with its key and its endpoint' ($server.rules.Count -eq 2 -and $server.rules[0].auth1psk -eq $keys[0] -and $server.rules[1].auth1psk -eq $keys[1] -and $server.rules[1].remotetunnelendpoint -eq '203.0.113.20')
Expect 'fresh: what differs from the server as it was' ($plain -ne $final -and $server.registry.EnableDeadGWDetect -eq 1 -and $server.registry.AssumeUDPEncapsulationContextOnSendRule -eq 2 -and $server.throughNat -eq 'Both' -and $server.idleSeconds -eq '3600' -and $server.forwarding -eq 'Enabled' -and $server.services.RemoteAccess -eq 'Auto Running' -and $server.users -eq 'None')
$ike = $server.openings['cgw-prod-ike']
$ping = $server.openings['cgw-prod-ping']
Expect 'fresh: Windows Firewall lets in IKE from both tunnels and ping from the VPC, nothing else' ($server.openings.Count -eq 2 -and "$($ike.Protocol) $($ike.LocalPort) $($ike.RemoteAddress)" -eq 'UDP 500 4500 203.0.113.10 203.0.113.20' -and "$($ping.Protocol) $($ping.IcmpType) $($ping.RemoteAddress)" -eq 'ICMPv4 8 10.0.0.0/16')
$saved = ConvertFrom-Json -AsHashtable ([IO.File]::ReadAllText((Join-Path $run.stack 'saved.json')))
Expect 'fresh: earlier settings are kept' ($saved['ipsec-settings'].users -eq 'O:LSD:(A;;CC;;;BA)' -and $saved['main-mode'].set -eq 'absent' -and $saved['dead-gateway'].EnableDeadGWDetect -eq 'absent' -and $saved['checksum-offload'].udp4 -eq 'TxEnabled')
$journal = ConvertFrom-Json -AsHashtable ([IO.File]::ReadAllText((Join-Path $run.stack 'journal.json')))
Expect 'fresh: the journal is complete' ($journal.done -and $journal.digest -eq $digest -and $journal.steps.Count -eq 11 -and $journal.changed -eq 10)
$kept = [IO.File]::ReadAllText((Join-Path $run.stack 'saved.json'))
$acls = (Get-History).acls.Clone()
Clear-History
foreach ($one in $acls.Keys) { (Get-History).acls[$one] = $acls[$one] }
$run = Push (Get-Given)
Expect 'again: nothing is changed' ($run.code -eq 0 -and (Get-ChangedIds $run) -eq '' -and (Get-History).calls -eq 0 -and (Get-Snapshot) -eq $final)
Expect 'again: the restart is still due' ($run.marker -eq "cgw-done $digest changed=0 reboot=true failed=0")
Expect 'again: what was kept stays' ([IO.File]::ReadAllText((Join-Path $run.stack 'saved.json')) -eq $kept)
(Get-Server).boot = (Get-Server).boot.AddSeconds(3)
Expect 'the clock was set: the restart is still due' ((Push (Get-Given)).marker -match 'reboot=true')
(Get-Server).boot = (Get-Server).boot.AddHours(1)
Expect 'after the restart: nothing is due' ((Push (Get-Given)).marker -eq "cgw-done $digest changed=0 reboot=false failed=0")
Expect 'after the restart: with reboot=now none is ordered' $(& { $g = Get-Given; $g.reboot = 'now'; $r = Push $g; $r.code -eq 0 -and (Get-History).shutdowns -eq 0 })

# Changes of what is wanted, and of what is there.
$given = Get-Given
$given.tunnels[1].presharedKey = $keys[2]
$first = ConvertTo-Json (Get-Server).rules[0]
$run = Push $given
Expect 'another key for one tunnel: only its rule is written' ((Get-ChangedIds $run) -eq 'tunnels' -and (Get-History).calls -eq 2 -and (ConvertTo-Json (Get-Server).rules[0]) -eq $first -and (Get-Server).rules[1].auth1psk -eq $keys[2])
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
Expect 'a drifted main mode is set right: what was kept is still the first state' ([IO.File]::ReadAllText((Join-Path $run.stack 'saved.json')) -eq $kept)

# Every change fails once, before or after its effect; the next run ends as if nothing had happened.
foreach ($after in $false, $true) {
    $wrong = @()
    foreach ($n in 1..$changes) {
        $run = Push-Failing $n $after
        $bad = @($run.steps.Values | Where-Object { $_.error -and -not $_.skipped })
        $skipped = @($run.steps.Values | Where-Object { $_.skipped })
        if ($run.code -ne 1 -or $run.marker -notmatch 'failed=1$' -or $bad.Count -ne 1 -or $bad[0].error -notmatch 'modelled server failed' -or $bad[0].changed) { $wrong += "$n is not reported" }
        if ($run.steps.Count -ne 11 -or ($skipped.Count -eq 0 -and $bad[0].id -ne 'dead-gateway') -or @($skipped | Where-Object { $_.error -notmatch $bad[0].id }).Count) { $wrong += "$n skips wrongly" }
        if (-not (Test-Quiet $run)) { $wrong += "$n tells a key" }
        $run = Push (Get-Given)
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
Expect 'undo: all steps but the roles are taken back' ($run.code -eq 0 -and (Get-ChangedIds $run) -eq 'checksum-offload dead-gateway firewall ipsec-settings main-mode quick-mode routing tunnels udp-encapsulation' -and (Get-Server).features.Count -eq $roles)
Expect 'undo: the marker says so' ($run.marker -eq 'cgw-undone changed=9 reboot=true failed=0' -and $run.error -eq '')
Expect 'undo: what was kept for it is gone' ('saved.json' -notin $run.left -and 'rules.json' -notin $run.left -and 'settings.json' -notin $run.left)
$run = Undo
Expect 'undo again: there is nothing to undo' ($run.code -eq 1 -and $run.error -match 'nothing is set up')
Reset
[void] (Push (Get-Given))
Expect 'undo: no key is kept for it' $(& { $kept = [IO.File]::ReadAllText((Join-Path $Folder 'cgw/prod/settings.json')); @($keys | Where-Object { $kept.Contains($_) }).Count -eq 0 -and $kept.Contains('vpn-0abc Tunnel 1') })
$run = Undo -RemoveRoles
Expect 'undo with -RemoveRoles: the server is as it was, whole' ($run.code -eq 0 -and (Get-Snapshot) -eq $plain)
if ((Get-Snapshot) -ne $plain) { $plain; Get-Snapshot }

function Set-OwnThings {
    $s = Get-Server
    $s.exemptions = 'Dhcp, Icmp'; $s.throughNat = 'Server'; $s.idleSeconds = '900'; $s.forwarding = 'Enabled'
    $s.registry.EnableDeadGWDetect = 0
    $s.mainMode = [ordered]@{ proposals = @([ordered]@{ KeyExchange = 'DH19'; Encryption = 'AES128'; Hash = 'SHA1' }, [ordered]@{ KeyExchange = 'DH14'; Encryption = 'DES3'; Hash = 'SHA1' }); minutes = 60; sessions = 5; force = $false }
    $s.quickMode = [ordered]@{ proposals = @([ordered]@{ Encapsulation = 'ESP'; ESPHash = 'SHA1'; Encryption = 'DES3'; MaxMinutes = 30; MaxKiloBytes = 5000 }); minutes = 480; sessions = 0; force = $false }
    $s.rules = @([ordered]@{ name = 'Branch office'; enable = 'True'; remotetunnelendpoint = '192.0.2.99' })
    $s.openings['theirs'] = [ordered]@{ Name = 'theirs'; Direction = 'Inbound'; Action = 'Allow'; Enabled = 'True'; Protocol = 'UDP' }
}
Reset
Set-OwnThings
$own = Get-Snapshot
$run = Push (Get-Given)
Expect 'a server with own settings: set up' ($run.code -eq 0 -and (Get-Server).rules.Count -eq 3)
$run = Undo -RemoveRoles
Expect 'a server with own settings: undone, whole' ($run.code -eq 0 -and (Get-Snapshot) -eq $own)
if ((Get-Snapshot) -ne $own) { $own; Get-Snapshot }
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
    foreach ($n in 1..12) {
        Reset
        [void] (Push (Get-Given))
        Clear-History
        (Get-History).failAt = $n
        (Get-History).after = $after
        $run = Undo -RemoveRoles
        if ($run.code -ne 1 -or $run.marker -notmatch 'failed=[12]$') { $wrong += "$n is not reported" }
        if ($run.steps.Count -ne 11) { $wrong += "$n stops the rest" }
        (Get-History).failAt = 0
        if ((Undo -RemoveRoles).code -ne 0 -or (Get-Snapshot) -ne $plain) { $wrong += "$n is not mended" }
    }
    Expect "an undo that was cut off $(if ($after) { 'after' } else { 'before' }) a change goes on when run again $($wrong -join ', ')" ($wrong.Count -eq 0)
}

# Texts of netsh may hold the key.
Reset
(Get-History).netshSays = 'refused: '
$run = Push (Get-Given)
Expect 'netsh prints the key: it is taken out of the error' ($run.code -eq 1 -and $run.steps.tunnels.error -match 'exit code 1: refused' -and $run.steps.tunnels.error -match 'auth1psk=\*\*\*' -and (Test-Quiet $run))
Reset
(Get-Server).inForce = $false
$run = Push (Get-Given)
Expect 'a rule that does not come into force is a failure' ($run.code -eq 1 -and $run.steps.tunnels.error -match 'not in force')

# Servers and wishes of other kinds.
Reset
$given = Get-Given
$given.device = 'external'; $given.minimalRoles = $true; $given.reboot = 'now'
$run = Push $given
Expect 'external: the adapter is left alone' ($run.code -eq 0 -and $run.steps['checksum-offload'].skipped -and $null -eq $run.steps['checksum-offload'].error -and (Get-Server).offload.IpIPv4Enabled -eq 'RxTxEnabled')
Expect 'external: minimal roles' ((@((Get-Server).features.Keys) -join ' ') -eq 'RemoteAccess Routing RSAT-RemoteAccess-PowerShell')
Expect 'external: reboot=now orders one restart' ((Get-History).shutdowns -eq 1 -and $run.marker -match 'reboot=true failed=0$')
Reset
(Get-Server).version = '6.3.9600'; (Get-Server).friendly = $true
$run = Push (Get-Given)
Expect '2012 R2: netsh sets up routing, display names are read' ($run.code -eq 0 -and (Get-Server).access.type -eq 'lanonly')
Expect '2012 R2: again nothing' ((Get-ChangedIds (Push (Get-Given))) -eq '')
Reset
$given = Get-Given
$given.mainMode.suites = @(@{ keyExchange = 'DH20'; encryption = 'AES256'; hash = 'SHA384' })
$given.quickMode = @{ netsh = 'ESP:AESGCM256-AESGCM256+60min+100000kb'; encapsulation = 'ESP'; espHash = 'AESGCM256'; encryption = 'AESGCM256'; minutes = 60; kilobytes = 100000; pfs = 'ecdhp384' }
$run = Push $given
Expect 'AES-GCM and ECDH' ($run.code -eq 0 -and (Get-Server).quickMode.proposals[0].ESPHash -eq 'AESGMAC256' -and (Get-Server).mainMode.proposals[0].KeyExchange -eq 'DH20' -and (Get-Server).rules[0].qmpfs -eq 'ecdhp384')
Expect 'AES-GCM and ECDH: again nothing' ((Get-ChangedIds (Push $given)) -eq '')
Reset
(Get-Server).needsRestart = $true
$given = Get-Given
$given.reboot = 'now'
$run = Push $given
Expect 'roles that need a restart: the rest waits for it' ($run.code -eq 0 -and $run.steps.routing.skipped -and $run.steps.routing.error -match 'restart must come first' -and (Get-History).shutdowns -eq 1 -and $run.marker -match 'reboot=true failed=0$')
(Get-Server).needsRestart = $false
foreach ($n in @((Get-Server).features.Keys)) { (Get-Server).features[$n] = 'Installed' }
(Get-Server).boot = (Get-Server).boot.AddHours(1)
$run = Push $given
Expect 'roles that need a restart: after it, the rest is done' ($run.code -eq 0 -and (Get-ChangedIds $run) -eq 'dead-gateway firewall ipsec-settings main-mode quick-mode routing tunnels udp-encapsulation')

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
    'already set up otherwise' = { param($g) (Get-Server).access.VpnStatus = 'Installed' }
    'far too wide' = { param($g) $g.cloudCidr = '0.0.0.0/0' }
    'overlaps Endpoint 1' = { param($g) $g.siteCidr = '10.0.4.0/24' }
    'link-local' = { param($g) $g.cloudCidr = '169.254.0.0/16' }
    "server's own address" = { param($g) $g.cloudCidr = '172.31.16.0/24' }
    'tunnel address 203.0.113.10' = { param($g) $g.cloudCidr = '203.0.113.0/24' }
    'would be cut off' = { param($g) $g.cloudCidr = '198.51.100.0/24' }
}
foreach ($refusal in $refusals.GetEnumerator()) {
    Reset
    $given = Get-Given
    & $refusal.Value $given
    $before = Get-Snapshot
    $run = Push $given
    Expect "refused: $($refusal.Key)" ($run.code -eq 1 -and $run.steps.preflight.error -match [regex]::Escape($refusal.Key) -and (Get-Snapshot) -eq $before -and (Get-History).calls -eq 0 -and $run.steps.tunnels.skipped)
}
$shapes = [ordered]@{
    'same presharedKey' = { param($g) $g.tunnels[1].presharedKey = $g.tunnels[0].presharedKey }
    'not one that AWS allows' = { param($g) $g.tunnels[1].presharedKey = '0' + $keys[1] }
    'not an IPv4 network' = { param($g) $g.cloudCidr = '10.0.0.1/16' }
    'name of a tunnel is not allowed' = { param($g) $g.tunnels[0].name = 'a" auth1psk=x' }
    'not a method of netsh' = { param($g) $g.quickMode.netsh = 'ESP:SHA1-AES128 x=y' }
    'not two tunnels' = { param($g) $g.tunnels = @($g.tunnels[0]) }
}
foreach ($shape in $shapes.GetEnumerator()) {
    Reset
    $given = Get-Given
    & $shape.Value $given
    $run = Push $given
    Expect "wrong parameters: $($shape.Key)" ($run.code -eq 1 -and $run.lines.Count -eq 0 -and $run.error -match $shape.Key -and (Get-History).calls -eq 0 -and (Test-Quiet $run))
}
Reset
(Get-Server).policyExemptions = 'Icmp, Dhcp'
Expect 'a group policy that exempts ICMP is a failure' ((Push (Get-Given)).steps['ipsec-settings'].error -match 'group policy')

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
[IO.File]::WriteAllText((Join-Path $copy 'parameters.json'), (ConvertTo-Json (Get-Given) -Depth 6))
$run = Invoke-Captured { & (Join-Path $copy 'run.ps1') }
Expect 'by hand: the same, and the keys are gone' ($run.code -eq 0 -and (Get-Snapshot) -eq $final -and $run.marker -match 'cgw-done by-hand changed=10' -and -not (Test-Path (Join-Path $copy 'parameters.json')))
foreach ($stack in '..', 'a/b', '', '-x') { $g = Get-Given; $g.stack = $stack; Expect "the stack's name '$stack' is refused" ((Push $g).error -match 'not allowed') }
exit $failures
