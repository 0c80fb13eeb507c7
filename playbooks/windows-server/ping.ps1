# Pings through a tunnel, and what was negotiated for it: what a proof and a failover have in common. $parameters are the stack's.

# ping.exe gives 0 for "unreachable" too; only a reply has a time to live, whatever the language.
function Test-Reply([string] $Ping) { [bool] (@(& ping.exe -n 1 -w 1000 -S $parameters.privateIp $Ping) -match 'TTL=') }

# Pings until the first reply; what brings a tunnel up takes some seconds.
function Wait-Reply([string] $Ping, [int] $Tries) {
    for ($try = 0; $try -lt $Tries; $try++) {
        if ($try -gt 0) { Start-Sleep -Seconds 1 }
        if (Test-Reply $Ping) { return $true }
    }
    $false
}

# The security associations with the stack's tunnels. The names are those of the CIM classes MSFT_NetMainModeSA and
# MSFT_NetQuickModeSA; their numbers are those of the crypto sets.
function Get-Association {
    $peers = @($parameters.tunnels | ForEach-Object { $_.outsideIp })
    foreach ($one in @(Get-NetIPsecMainModeSA -ErrorAction SilentlyContinue | Where-Object { "$($_.RemoteEndpoint)" -in $peers })) {
        [ordered]@{ kind = 'main'; peer = "$($one.RemoteEndpoint)"; encryption = Get-NamedField $one @('CipherAlgorithm') $cipherNames
            hash = Get-NamedField $one @('HashAlgorithm') $hashNames; keyExchange = Get-NamedField $one @('GroupId') $groupNames }
    }
    foreach ($one in @(Get-NetIPsecQuickModeSA -ErrorAction SilentlyContinue | Where-Object { "$($_.RemoteEndpoint)" -in $peers })) {
        [ordered]@{ kind = 'quick'; peer = "$($one.RemoteEndpoint)"; encryption = Get-NamedField $one @('FirstCipherAlgorithm') $cipherNames
            hash = Get-NamedField $one @('FirstIntegrityAlgorithm') $hashNames; keyExchange = Get-NamedField $one @('PfsGroupId') $groupNames }
    }
}
