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
. (Join-Path $PSScriptRoot 'ping.ps1')

try {
    if ($null -eq (ConvertTo-AddressNumber $Ping)) { throw "$Ping is not an IPv4 address" }
    $source = Join-Path $PSScriptRoot 'settings.json'
    if (-not (Test-Path -LiteralPath $source)) { throw 'nothing is set up from this folder' }
    $parameters = Read-Json $source
    [void] (Wait-Reply $Ping $Wait)
    $received = 0
    for ($sent = 0; $sent -lt $Count; $sent++) { if (Test-Reply $Ping) { $received++ } }
    $found = @(Get-Association)
    $proof = [ordered]@{ sent = $Count; received = $received
        mainMode = @($found | Where-Object { $_.kind -eq 'main' }); quickMode = @($found | Where-Object { $_.kind -eq 'quick' }) }
    Write-Line "cgw-proof $(ConvertTo-Line $proof $null)"
    exit 0
} catch {
    [Console]::Error.WriteLine("cgw: $($_.Exception.Message)")
    exit 1
}
