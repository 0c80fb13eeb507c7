# Pings a host in the VPC from the server's own end of the tunnels, which also brings a tunnel up, and says what came of it and
# what was negotiated. Changes nothing. One line:
# cgw-proof {"sent", "received", "tunnelBytes": {"sent", "received"}, "mainMode": [{"peer", "encryption", "hash", "keyExchange"}], "quickMode": [{"peer", "encryption", "hash", "keyExchange"}]}
#
# Guide, step 6: the tunnel comes up only when traffic comes from the customer's side. It takes some seconds, so the first reply
# is waited for; only the pings after that are counted. "tunnelBytes" is what IPsec has sent and received in tunnel mode with
# them; null where Windows does not count it.
param([string] $Ping, [int] $Wait = 60, [int] $Count = 5)
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
. (Join-Path $PSScriptRoot 'common.ps1')
. (Join-Path $PSScriptRoot 'ping.ps1')

# Since the start, in bytes modulo 2^32 (the class Win32_PerfRawData_Counters_IPsecDriver, whose names are never localised).
function Get-TunnelBytes {
    $driver = @(Get-CimInstance -ClassName Win32_PerfRawData_Counters_IPsecDriver -ErrorAction SilentlyContinue)[0]
    if ($driver) { @{ sent = [long] $driver.BytesSentinTunnelModePersec; received = [long] $driver.BytesReceivedinTunnelModePersec } }
}

function Get-Rise([long] $Before, [long] $Now) { ($Now - $Before + 4294967296) % 4294967296 }

try {
    if ($null -eq (ConvertTo-AddressNumber $Ping)) { throw "$Ping is not an IPv4 address" }
    $source = Join-Path $PSScriptRoot 'parameters.json'
    if (-not (Test-Path -LiteralPath $source)) { throw 'nothing is set up from this folder' }
    $parameters = Read-Json $source
    [void] (Wait-Reply $Ping $Wait)
    $received = 0
    $before = Get-TunnelBytes
    for ($sent = 0; $sent -lt $Count; $sent++) { if (Test-Reply $Ping) { $received++ } }
    $now = Get-TunnelBytes
    $bytes = if ($before -and $now) { [ordered]@{ sent = Get-Rise $before.sent $now.sent; received = Get-Rise $before.received $now.received } }
    $found = @(Get-Association)
    $proof = [ordered]@{ sent = $Count; received = $received; tunnelBytes = $bytes
        mainMode = @($found | Where-Object { $_.kind -eq 'main' }); quickMode = @($found | Where-Object { $_.kind -eq 'quick' }) }
    Write-Line "cgw-proof $(ConvertTo-Line $proof)"
    exit 0
} catch {
    [Console]::Error.WriteLine("cgw: $($_.Exception.Message)")
    exit 1
}
