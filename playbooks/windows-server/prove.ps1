# Pings a host in the VPC from the server's own end of the tunnels, which also brings a tunnel up, and says what came of it and
# what was negotiated. Changes nothing. One line:
# cgw-proof {"sent", "received", "mainMode": [{"peer", "encryption", "hash", "keyExchange"}], "quickMode": [{"peer", "encryption", "hash", "keyExchange"}]}
#
# Guide, step 6: the tunnel comes up only when traffic comes from the customer's side. It takes some seconds, so the first reply
# is waited for; only the pings after that are counted.
param([string] $Ping, [int] $Wait = 60, [int] $Count = 5)
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
. (Join-Path $PSScriptRoot 'common.ps1')

# ping.exe gives 0 for "unreachable" too; only a reply has a time to live, whatever the language.
function Test-Reply { @(& ping.exe -n 1 -w 1000 -S $parameters.privateIp $Ping) -match 'TTL=' }

try {
    if ($null -eq (ConvertTo-AddressNumber $Ping)) { throw "$Ping is not an IPv4 address" }
    $source = Join-Path $PSScriptRoot 'settings.json'
    if (-not (Test-Path -LiteralPath $source)) { throw 'nothing is set up from this folder' }
    $parameters = Read-Json $source
    $reply = $false
    for ($try = 0; -not $reply -and $try -lt $Wait; $try++) {
        if ($try -gt 0) { Start-Sleep -Seconds 1 }
        $reply = Test-Reply
    }
    $received = 0
    for ($sent = 0; $sent -lt $Count; $sent++) { if (Test-Reply) { $received++ } }
    $peers = @($parameters.tunnels | ForEach-Object { $_.outsideIp })
    # Names of the CIM classes MSFT_NetMainModeSA and MSFT_NetQuickModeSA; their numbers are those of the crypto sets.
    $main = @(Get-NetIPsecMainModeSA -ErrorAction SilentlyContinue | Where-Object { "$($_.RemoteEndpoint)" -in $peers } | ForEach-Object {
        [ordered]@{ peer = "$($_.RemoteEndpoint)"; encryption = Get-NamedField $_ @('CipherAlgorithm') $cipherNames
            hash = Get-NamedField $_ @('HashAlgorithm') $hashNames; keyExchange = Get-NamedField $_ @('GroupId') $groupNames }
    })
    $quick = @(Get-NetIPsecQuickModeSA -ErrorAction SilentlyContinue | Where-Object { "$($_.RemoteEndpoint)" -in $peers } | ForEach-Object {
        [ordered]@{ peer = "$($_.RemoteEndpoint)"; encryption = Get-NamedField $_ @('FirstCipherAlgorithm') $cipherNames
            hash = Get-NamedField $_ @('FirstIntegrityAlgorithm') $hashNames; keyExchange = Get-NamedField $_ @('PfsGroupId') $groupNames }
    })
    Write-Line "cgw-proof $(ConvertTo-Line ([ordered]@{ sent = $Count; received = $received; mainMode = $main; quickMode = $quick }) $null)"
    exit 0
} catch {
    [Console]::Error.WriteLine("cgw: $($_.Exception.Message)")
    exit 1
}
