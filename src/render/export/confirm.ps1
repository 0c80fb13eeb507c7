# The second step of the exported document: in a process of its own, so over a new connection, it asks EC2 whether the server can
# still reach AWS, and only then disarms the guard that would put the firewall back. A restart that is due comes after that.
# Sent after the same lines as set-up.ps1, but for $packed. Lines that start with # and empty lines are left out when it is sent.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
try {
    if ($action -ne 'set-up') { exit 0 }
    if (-not (Get-EC2VpnConnection -VpnConnectionId $connection -Region $region)) { throw "EC2 does not show $connection" }
    $said = @(& powershell.exe -NoProfile -NonInteractive -ExecutionPolicy Bypass -File (Join-Path $folder 'confirm.ps1'))
    if ($LASTEXITCODE -ne 0) { throw 'the guard on the server could not be disarmed' }
    $line = @($said | Where-Object { $_.StartsWith('cgw-state ') })[-1]
    [Console]::Out.WriteLine($line)
    $state = ConvertFrom-Json -InputObject $line.Substring(10)
    if ($state.guard -eq 'restored') { throw 'the guard has put the firewall back before anybody confirmed' }
    if ($state.reboot) { Request-Restart }
    [IO.File]::Delete($restarts)
    exit 0
} catch {
    [Console]::Error.WriteLine("cgw: $($_.Exception.Message)")
    exit 1
}
