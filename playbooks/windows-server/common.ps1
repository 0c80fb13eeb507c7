# What run.ps1 and the steps share. Windows PowerShell 4 (Windows Server 2012 R2) is the oldest that has to read this.
#
# A step is a script with the parameters -Parameters and -Undo. It tests, sets what differs, reads back, and returns one
# object {was, now, changed, reboot, kept} (New-Outcome); it throws when it fails. Its other output is discarded.

function New-Outcome($Was, $Now, [bool] $Changed, [bool] $Reboot, $Kept) {
    New-Object PSObject -Property @{ was = $Was; now = $Now; changed = $Changed; reboot = $Reboot; kept = @($Kept | Where-Object { $_ }) }
}

# One line of JSON in ASCII: the console's code page is not UTF-8.
function ConvertTo-Line($Value) {
    $text = ConvertTo-Json -InputObject $Value -Depth 6 -Compress
    [regex]::Replace($text, '[^\x20-\x7e]', { param($match) '\u{0:x4}' -f [int][char] $match.Value })
}

# Runs one step of manifest.json and gives what it said it did.
function Invoke-Step($Step, $Parameters, [switch] $Undo) {
    $said = @(& (Join-Path $PSScriptRoot $Step.file) -Parameters $Parameters -Undo:$Undo 3>$null)
    $outcome = $said | Where-Object { $null -ne $_.changed } | Select-Object -Last 1
    if (-not $outcome) { throw 'the step did not say what it did' }
    $outcome
}

function Write-Line([string] $Text) {
    [Console]::Out.WriteLine($Text)
    [Console]::Out.Flush()
}

# Brings one thing to the wanted state, or with the step's -Undo back to the state before the first change.
#
# -Read returns what is there, as ordered texts by name; -Wanted holds the texts that must be. -Set brings about the texts of
# $put, which holds just those that differ; it can read $was too. Both blocks see the names of this function: its own ones are
# $was, $put, $kept, $before, $first, $field, $now, $left, $others, $isShared. -SaveAs names where the state before the first change is kept.
# $BeforeChange is run.ps1's: what has to be done before a change, if anything.
# An undo leaves alone what somebody has changed since, which is all that cgw has not set itself (set.json): with -Whole the whole
# thing as soon as one text of it is theirs. It leaves a setting of the server to the other stacks that use it; -Union names a text
# that lists what each of them wants, of which it leaves what the others want.
function Complete-Step([scriptblock] $Read, $Wanted, [scriptblock] $Set, [string] $SaveAs, [string] $Union, [switch] $Whole, [switch] $Reboot) {
    $others = @(Get-OtherStackUse $SaveAs)
    $isShared = $others.Count -gt 0
    if ($Undo -and $isShared -and -not $Union) { return New-Outcome $null $null $false $false }
    $was = & $Read
    $put = [ordered]@{}
    $kept = @()
    if ($Undo) {
        $before = if ($isShared) { [ordered]@{ $Union = Join-List ($others | ForEach-Object { $_.texts[$Union] }) } } else { Get-Saved $SaveAs }
        foreach ($field in $before.Keys) {
            if ("$($was[$field])" -eq "$($before[$field])") { continue }
            if ("$($was[$field])" -in @(Get-Set $SaveAs $field)) { $put[$field] = "$($before[$field])" } else { $kept += $field }
        }
        if ($Whole -and $kept.Count -gt 0) { $put = [ordered]@{} }
    } else {
        Save-Use $SaveAs $Wanted
        if ($Union) { $Wanted[$Union] = Join-List (@($Wanted[$Union]) + @($others | ForEach-Object { $_.texts[$Union] })) }
        foreach ($field in $Wanted.Keys) { if ("$($was[$field])" -ne "$($Wanted[$field])") { $put[$field] = "$($Wanted[$field])" } }
        if ($put.Count -gt 0) {
            $first = [ordered]@{}
            foreach ($field in @(if ($Whole) { $was.Keys } else { $put.Keys })) { $first[$field] = $was[$field] }
            Save-Once $SaveAs $first
        }
    }
    if ($put.Count -eq 0) { return New-Outcome $was $was $false $false $kept }
    if (-not $Undo -or $isShared) { Save-Set $SaveAs $put }
    if ($BeforeChange) { & $BeforeChange }
    & $Set | Out-Null
    $now = & $Read
    $left = @(Get-Difference $now $put)
    if ($left.Count -gt 0) { throw "set, but it reads back otherwise: $($left -join '; ')" }
    New-Outcome $was $now $true ([bool] $Reboot) $kept
}

# Brings one number of the registry to what is wanted; that takes effect with a restart.
function Complete-RegistryValue([string] $Id, [string] $Key, [string] $Name, [int] $Value) {
    Complete-Step -SaveAs $Id -Reboot -Wanted ([ordered]@{ $Name = "$Value" }) -Read {
        $item = Get-ItemProperty -Path $Key -Name $Name -ErrorAction SilentlyContinue
        [ordered]@{ $Name = if ($null -eq $item) { 'absent' } else { "$($item.$Name)" } }
    } -Set {
        if ($put[$Name] -eq 'absent') { Remove-ItemProperty -Path $Key -Name $Name }
        else { New-ItemProperty -Path $Key -Name $Name -PropertyType DWord -Value ([int] $put[$Name]) -Force }
    }
}

function Get-Difference($Is, $Wanted) {
    foreach ($name in $Wanted.Keys) {
        if ("$($Is[$name])" -ne "$($Wanted[$name])") { "$name is '$($Is[$name])', wanted '$($Wanted[$name])'" }
    }
}

function Read-Json([string] $Path) {
    try { ConvertFrom-Json -InputObject ([IO.File]::ReadAllText($Path)) } catch { throw "$(Split-Path -Path $Path -Leaf) cannot be read as JSON" }
}

# Writes beside, then moves: a run that is cut off never leaves half a file.
function Write-Json([string] $Path, $Value) {
    [IO.File]::WriteAllText("$Path.new", (ConvertTo-Json -InputObject $Value -Depth 6))
    Move-Item -LiteralPath "$Path.new" -Destination $Path -Force
}

# What a value of JSON that is an object holds, by name and in order.
function ConvertTo-Table($Value) {
    $table = [ordered]@{}
    if ($null -ne $Value) { foreach ($one in $Value.PSObject.Properties) { $table[$one.Name] = $one.Value } }
    $table
}

# A file that holds one JSON object; empty where there is none.
function Read-Table([string] $Path) {
    if (Test-Path -LiteralPath $Path) { ConvertTo-Table (Read-Json $Path) } else { [ordered]@{} }
}

# The settings of the server are shared by all stacks on it, each of which has its folder beside this one. So what they were is
# kept beside the folders too, in one that no stack can have: the first stack that changes one saves it, the last one that
# leaves puts it back. What is a stack's own is kept in its folder.
function Get-RootFolder { Join-Path $env:ProgramData 'cgw' }
function Get-ServerFolder { Join-Path (Get-RootFolder) '_server' }
function Test-Own([string] $Key) { $Key -in 'firewall', 'foreign-rules' }
function Get-KeptPath([string] $Key, [string] $File) {
    $folder = if (Test-Own $Key) { $PSScriptRoot } else { Get-ServerFolder }
    Join-Path $folder $File
}

function Write-Kept([string] $Path, $Value) {
    [void] [IO.Directory]::CreateDirectory((Split-Path -Path $Path -Parent))
    Write-Json $Path $Value
}

# saved.json: settings as they were before a stack changed them for the first time.
function Save-Once([string] $Key, $Value) {
    $kept = Get-Saved $Key
    $more = @($Value.Keys | Where-Object { -not $kept.Contains($_) })
    if ($more.Count -eq 0) { return }
    foreach ($field in $more) { $kept[$field] = $Value[$field] }
    $path = Get-KeptPath $Key 'saved.json'
    $saved = Read-Table $path
    $saved[$Key] = $kept
    Write-Kept $path $saved
}

# The texts that were kept under a name, in order; none if nothing was changed.
function Get-Saved([string] $Key) {
    $saved = Read-Table (Get-KeptPath $Key 'saved.json')
    ConvertTo-Table $saved[$Key]
}

# set.json: all texts that were set of each field, so that an undo knows them from somebody else's.
function Get-Set([string] $Key, [string] $Field) { (Read-Table (Get-KeptPath $Key 'set.json'))["$Key $Field"] }

function Save-Set([string] $Key, $Texts) {
    $path = Get-KeptPath $Key 'set.json'
    $set = Read-Table $path
    foreach ($field in $Texts.Keys) { $set["$Key $field"] = @(@($set["$Key $field"]) + "$($Texts[$field])" | Where-Object { $null -ne $_ } | Select-Object -Unique) }
    Write-Kept $path $set
}

# used.json: the settings of the server that this stack needs, and how it needs them. A run that was refused needs none.
function Save-Use([string] $Key, $Texts) {
    if (Test-Own $Key) { return }
    $path = Join-Path $PSScriptRoot 'used.json'
    $used = Read-Table $path
    $known = ConvertTo-Table $used[$Key]
    if ($used.Contains($Key) -and $known.Count -eq $Texts.Count -and @(Get-Difference $known $Texts).Count -eq 0) { return }
    $used[$Key] = $Texts
    Write-Json $path $used
}

# The other stacks that need a setting, each with its texts.
function Get-OtherStackUse([string] $Key) {
    foreach ($folder in @(Get-OtherStackFolder)) {
        $used = Read-Table (Join-Path $folder.FullName 'used.json')
        if ($used.Contains($Key)) { New-Object PSObject -Property @{ stack = $folder.Name; texts = ConvertTo-Table $used[$Key] } }
    }
}

function Get-OtherStackFolder([string] $Stack = (Split-Path -Path $PSScriptRoot -Leaf)) {
    Get-ChildItem -LiteralPath (Get-RootFolder) -Directory | Where-Object { $_.Name -notin $Stack, '_server' }
}

function Test-Shared([string] $Key) { @(Get-OtherStackUse $Key).Count -gt 0 }

# After an undo: forgets what was kept of settings that no stack needs any more.
function Clear-Kept {
    $isUsed = @(Get-OtherStackFolder | Where-Object { Test-Path -LiteralPath (Join-Path $_.FullName 'used.json') }).Count -gt 0
    if (-not (Test-Path -LiteralPath (Get-ServerFolder))) { return }
    if (-not $isUsed) {
        Remove-Item -LiteralPath (Get-ServerFolder) -Recurse -Force
        return
    }
    foreach ($file in 'saved.json', 'set.json') {
        $path = Join-Path (Get-ServerFolder) $file
        $table = Read-Table $path
        foreach ($name in @($table.Keys)) { if (-not (Test-Shared ($name -replace ' .*'))) { $table.Remove($name) } }
        Write-Kept $path $table
    }
}

# Says whether an undo has nothing to do for a step: nothing was ever changed, or other stacks need what was.
function Test-Untouched([string] $Key) { $Undo -and ((Get-Saved $Key).Count -eq 0 -or (Test-Shared $Key)) }

# One list of several, in an order that does not depend on theirs: of suites the one with the strongest group comes first.
function Join-List($Lists) {
    @($Lists | ForEach-Object { "$_".Split(',') } | Sort-Object -Property { $_ -replace '^DH(\d)-', 'DH0$1-' } -Descending -Unique) -join ','
}

# The index of the adapter that holds the private address; nothing where it is gone.
function Get-AdapterIndex { (Get-NetIPAddress -IPAddress $Parameters.privateIp -ErrorAction SilentlyContinue).InterfaceIndex }

function New-GoneOutcome { New-Outcome $null $null $false $false "what is set on the adapter with $($Parameters.privateIp), which is gone" }

# Windows gives a network back with its mask.
function ConvertTo-Prefix([string] $Address) {
    $parts = $Address.Split('/')
    if ($parts.Count -eq 1) { return $Address }
    $length = $parts[1]
    if ($length.Contains('.')) {
        $bits = ([Net.IPAddress]::Parse($length).GetAddressBytes() | ForEach-Object { [Convert]::ToString($_, 2) }) -join ''
        $length = "$($bits.Replace('0', '').Length)"
    }
    if ($length -eq '32') { $parts[0] } else { "$($parts[0])/$length" }
}

# First and last address of what a filter holds: an address, a network or a range; nothing if it is none of IPv4.
function ConvertTo-FilterRange([string] $Text) {
    if ($Text -eq 'Any') { return @{ first = [long] 0; last = [long] 4294967295 } }
    $ends = @($Text.Split('-') | ForEach-Object { ConvertTo-Prefix $_ } | ForEach-Object { if ($_.Contains('/')) { $_ } else { "$_/32" } })
    $ranges = @($ends | ForEach-Object { ConvertTo-NetworkRange $_ })
    if ($ranges.Count -eq $ends.Count) { @{ first = $ranges[0].first; last = $ranges[-1].last } }
}

# How the addresses of a filter stand to a network: none of it, its own (it, or a part of it), or beyond it.
function Get-Reach($Addresses, [string] $Cidr) {
    $network = ConvertTo-NetworkRange $Cidr
    $touches = $false
    $more = $false
    foreach ($one in $Addresses) {
        $range = ConvertTo-FilterRange "$one"
        if ($range -and $range.first -le $network.last -and $range.last -ge $network.first) { $touches = $true }
        if (-not $range -or $range.first -lt $network.first -or $range.last -gt $network.last) { $more = $true }
    }
    if (-not $touches) { 'none' } elseif ($more) { 'beyond' } else { 'own' }
}

# The rules that this stack has not made and that would match its traffic: they lead to the addresses of its tunnels, or these
# networks through another one. "isBeyond" says of one of the latter that it carries more than that; "stack" is the other stack on
# this server that has made it, if one has.
function Get-ForeignRule {
    $own = @($Parameters.tunnels | ForEach-Object { $_.name }) + @(Get-RuleName)
    $addresses = @($Parameters.tunnels | ForEach-Object { $_.outsideIp })
    $stacks = @{}
    foreach ($folder in @(Get-OtherStackFolder)) { foreach ($name in @((Read-RuleMemory $folder.FullName).rules.Keys)) { $stacks[$name] = $folder.Name } }
    foreach ($rule in @(Get-NetIPsecRule -PolicyStore PersistentStore -ErrorAction SilentlyContinue)) {
        $endpoint = Get-TunnelEndpoint $rule
        if ($rule.DisplayName -in $own -or $endpoint -in '', 'Any') { continue }
        $filter = Get-NetFirewallAddressFilter -AssociatedNetIPsecRule $rule
        $reaches = (Get-Reach $filter.LocalAddress $Parameters.siteCidr), (Get-Reach $filter.RemoteAddress $Parameters.cloudCidr)
        if ($endpoint -notin $addresses -and 'none' -in $reaches) { continue }
        New-Object PSObject -Property @{
            rule = $rule
            endpoint = $endpoint
            networks = "$($filter.LocalAddress) to $($filter.RemoteAddress)"
            isOn = Test-Enabled $rule
            isToOurs = $endpoint -in $addresses
            isBeyond = $endpoint -notin $addresses -and 'beyond' -in $reaches
            stack = $stacks["$($rule.DisplayName)"]
        }
    }
}

# The rules of a name that a store holds.
function Get-Rule([string] $Name, [string] $Store) { @(Get-NetIPsecRule -DisplayName $Name -PolicyStore $Store -ErrorAction SilentlyContinue) }

# Windows says it as a word or as a number.
function Test-Enabled($Rule) { "$($Rule.Enabled)" -in 'True', '1' }

# What routing and remote access does besides LAN routing.
function Get-OtherUse($Access) { 'DAStatus', 'VpnStatus', 'VpnS2SStatus', 'SstpProxyStatus' | Where-Object { "$($Access.$_)" -eq 'Installed' } }

function Get-TunnelEndpoint($Rule) { "$($Rule.RemoteTunnelEndpoint)".Split('/')[0] }

# rules.json: a salt, and the rules that this stack has made, each with a hash of what it is. One that cannot be read is as good as
# none: then each rule is written again.
function Read-RuleMemory([string] $Folder = $PSScriptRoot) {
    $memory = @{ salt = $null; rules = [ordered]@{} }
    $path = Join-Path $Folder 'rules.json'
    if (Test-Path -LiteralPath $path) {
        try {
            $read = Read-Json $path
            $memory.salt = $read.salt
            foreach ($one in $read.rules.PSObject.Properties) { $memory.rules[$one.Name] = "$($one.Value)" }
        } catch {
            $memory = @{ salt = $null; rules = [ordered]@{} }
        }
    }
    $memory
}

function Write-RuleMemory($Memory) { Write-Json (Join-Path $PSScriptRoot 'rules.json') $Memory }

# The names of the rules that this stack has made.
function Get-RuleName { @((Read-RuleMemory).rules.Keys) }

# keys.txt: a line for each tunnel, its outside address and its pre-shared key.
function Get-KeyPath { Join-Path $PSScriptRoot 'keys.txt' }

# Gives the pre-shared keys by the tunnels' outside addresses, and deletes the file.
function Read-Key {
    if (-not [IO.File]::Exists((Get-KeyPath))) { throw 'there is no keys.txt: a run reads it and deletes it; cgw scripts writes it anew' }
    $keys = @{}
    foreach ($line in [IO.File]::ReadAllLines((Get-KeyPath))) {
        $words = $line.Split(' ')
        $keys[$words[0]] = $words[1]
    }
    [IO.File]::Delete((Get-KeyPath))
    $keys
}

# Takes the pre-shared keys, $presharedKeys of run.ps1, out of a text.
function Protect-Text([string] $Text) {
    foreach ($key in $presharedKeys.Values) { if ($key) { $Text = $Text.Replace($key, '***') } }
    $Text
}

# Creates a file that only SYSTEM and Administrators may read; it gets its text after its rights.
function New-PrivateFile([string] $Path, [string] $Text) {
    [IO.File]::WriteAllText($Path, '')
    Set-Acl -LiteralPath $Path -AclObject (New-PrivateAcl 'FileSecurity' '')
    [IO.File]::WriteAllText($Path, $Text)
}

# Creates a folder that only they may enter. Everyone may create folders under ProgramData: one that is somebody else's is refused.
function New-PrivateFolder([string] $Path) {
    $acl = New-PrivateAcl 'DirectorySecurity' 'OICI'
    $info = New-Object IO.DirectoryInfo $Path
    if (-not $info.Exists) { return $info.Create($acl) }
    if ($info.GetAccessControl().GetSecurityDescriptorSddlForm('Owner') -notin 'O:BA', 'O:SY') { throw "$Path belongs to another user" }
    $info.SetAccessControl($acl)
}

function New-PrivateAcl([string] $Kind, [string] $Inherit) {
    $acl = New-Object "Security.AccessControl.$Kind"
    $acl.SetSecurityDescriptorSddlForm("O:BAG:BAD:P(A;$Inherit;FA;;;SY)(A;$Inherit;FA;;;BA)")
    $acl
}

# Runs netsh. Its text is localised, so only the exit code is judged; the start of the text, which may quote a rule with its
# key, is for people, in the error.
function Invoke-Netsh([string[]] $Arguments) {
    $ErrorActionPreference = 'Continue'
    $said = (Protect-Text "$(& netsh.exe $Arguments 2>&1)") -replace '\s+', ' '
    if ($LASTEXITCODE -ne 0) { throw "netsh.exe gave exit code $LASTEXITCODE`: $($said.Substring(0, [Math]::Min(300, $said.Length)).Trim())" }
}

# The first of the named properties that the object has, as text. NetSecurity's objects carry the names of their CIM
# class; some also have a display form under the cmdlet's parameter name.
function Get-Field($Object, [string[]] $Name) {
    foreach ($one in $Name) {
        if ($null -ne $Object.$one) { return "$($Object.$one)" }
    }
    ''
}

# Names of the values that the CIM classes MSFT_NetIKEMMCryptoProposal and MSFT_NetIKEQMCryptoProposal document as numbers.
$cipherNames = @{ '0' = 'None'; '2' = 'DES'; '6' = 'DES3'; '65001' = 'AES128'; '65002' = 'AES192'; '65003' = 'AES256'
    '65004' = 'AESGCM128'; '65005' = 'AESGCM192'; '65006' = 'AESGCM256' }
$hashNames = @{ '0' = 'None'; '2' = 'MD5'; '3' = 'SHA1'; '65001' = 'SHA256'; '65002' = 'SHA384'
    '65003' = 'AESGMAC128'; '65004' = 'AESGMAC192'; '65005' = 'AESGMAC256' }
$groupNames = @{ '0' = 'None'; '1' = 'DH1'; '2' = 'DH2'; '14' = 'DH14'; '19' = 'DH19'; '20' = 'DH20'; '24' = 'DH24' }
$encapsulationNames = @{ '0' = 'None'; '1' = 'AH'; '2' = 'ESP'; '3' = 'AH,ESP' }

function Get-NamedField($Object, [string[]] $Name, $Names) {
    $value = Get-Field $Object $Name
    if ($Names.ContainsKey($value)) { $Names[$value] } elseif ($value) { $value } else { '?' }
}

# An IPv4 address as a number; nothing if it is not one in its usual form.
function ConvertTo-AddressNumber([string] $Address) {
    $parsed = $null
    if (-not [Net.IPAddress]::TryParse($Address, [ref] $parsed) -or $parsed.ToString() -ne $Address) { return }
    $bytes = $parsed.GetAddressBytes()
    if ($bytes.Length -ne 4) { return }
    $number = [long] 0
    foreach ($byte in $bytes) { $number = $number * 256 + $byte }
    $number
}

# First and last address of an IPv4 network; nothing if the text is not one.
function ConvertTo-NetworkRange([string] $Cidr) {
    if ($Cidr -notmatch '^(\d+\.\d+\.\d+\.\d+)/(\d{1,2})\z') { return }
    $length = [int] $Matches[2]
    $first = ConvertTo-AddressNumber $Matches[1]
    if ($null -eq $first -or $length -gt 32) { return }
    $size = [long] [Math]::Pow(2, 32 - $length)
    if ($first % $size -ne 0) { return }
    @{ first = $first; last = $first + $size - 1 }
}

# The network that an address with a length is in.
function Get-Network([string] $Address, [int] $Length) {
    $size = [long] [Math]::Pow(2, 32 - $Length)
    $number = ConvertTo-AddressNumber $Address
    $first = $number - $number % $size
    "$(@(foreach ($place in 16777216, 65536, 256, 1) { [Math]::Floor($first / $place) % 256 }) -join '.')/$Length"
}

function Test-NetworkOverlap([string] $One, [string] $Other) {
    $a = ConvertTo-NetworkRange $One
    $b = ConvertTo-NetworkRange $Other
    $a.first -le $b.last -and $b.first -le $a.last
}

function Test-Inside([string] $Address, [string] $Cidr) {
    $number = ConvertTo-AddressNumber $Address
    $range = ConvertTo-NetworkRange $Cidr
    $null -ne $number -and $range -and $number -ge $range.first -and $number -le $range.last
}

# What is wrong with the keys that come with the parameters, a line each. Never quotes one.
function Get-KeyProblem($Parameters) {
    $seen = @()
    foreach ($tunnel in $Parameters.tunnels) {
        $key = $presharedKeys["$($tunnel.outsideIp)"]
        if ($key -cnotmatch '^[A-Za-z1-9._][A-Za-z0-9._]{7,63}\z') { "the key of $($tunnel.name) is not one that AWS allows" }
        elseif ($seen.Contains($key)) { 'two tunnels have the same key' }
        $seen += $key
    }
}

# What is wrong with the parameters, a line each; nothing when they are right.
function Get-ParameterProblem($Parameters) {
    if ($Parameters.version -ne 1) { 'version is not 1' }
    if ("$($Parameters.stack)" -cnotmatch '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\z') { 'the name of the stack is not allowed' }
    if ($Parameters.device -notin 'ec2', 'external') { 'device is neither ec2 nor external' }
    if ($null -eq (ConvertTo-AddressNumber $Parameters.privateIp)) { 'privateIp is not an IPv4 address' }
    foreach ($name in 'siteCidr', 'cloudCidr') {
        if ($null -eq (ConvertTo-NetworkRange $Parameters.$name)) { "$name is not an IPv4 network" }
    }
    if (-not $Parameters.adminPorts) { 'adminPorts names no port' }
    if ($Parameters.ping -and -not (Test-Inside $Parameters.ping $Parameters.cloudCidr)) { "the host to ping, $($Parameters.ping), is not in the VPC's network" }
    $tunnels = @($Parameters.tunnels)
    if ($tunnels.Count -ne 2) { 'there are not two tunnels' }
    foreach ($name in 'name', 'outsideIp') {
        if (@($tunnels | ForEach-Object { $_.$name } | Select-Object -Unique).Count -ne $tunnels.Count) { "two tunnels have the same $name" }
    }
    foreach ($tunnel in $tunnels) {
        if ($tunnel.name -cnotmatch '^[A-Za-z0-9][A-Za-z0-9 ._-]{0,127}\z' -or $tunnel.name -eq 'all') { 'the name of a tunnel is not allowed' }
        if ($null -eq (ConvertTo-AddressNumber $tunnel.outsideIp)) { "the outside address of $($tunnel.name) is not an IPv4 address" }
        if ($tunnel.quickMode -notmatch '^ESP:[A-Z0-9]+-[A-Z0-9]+\+[0-9]+min\+[0-9]+kb\z') { "the quick mode of $($tunnel.name) is not a method of netsh" }
        if ($tunnel.pfs -notmatch '^(dhgroup(1|2|14|24)|ecdhp(256|384)|mainmode|none)\z') { "the PFS of $($tunnel.name) is not a group of netsh" }
    }
    $quick = $Parameters.quickMode
    if ($quick.encapsulation -notin $encapsulationNames.Values -or $quick.encryption -notin $cipherNames.Values -or
        $quick.espHash -notin (@($hashNames.Values) + @($cipherNames.Values))) { 'the suite of quick mode is not known' }
    if (@($Parameters.mainMode.suites).Count -eq 0) { 'main mode has no suite' }
    foreach ($suite in $Parameters.mainMode.suites) {
        if ($suite.keyExchange -notin $groupNames.Values -or $suite.encryption -notin $cipherNames.Values -or
            $suite.hash -notin $hashNames.Values) { 'a suite of main mode is not known' }
    }
}
