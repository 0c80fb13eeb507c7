# Pings a host in the VPC every five seconds, from the server's own end of the tunnels, for ever. 85-keepalive.ps1 makes a task
# of it.
param([string] $From, [string] $Ping)
for (;;) {
    & ping.exe -n 1 -w 1000 -S $From $Ping | Out-Null
    Start-Sleep -Seconds 5
}
