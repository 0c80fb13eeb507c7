# Opens a server that cgw launches to WinRM over TLS, at its first start: with a certificate of its own, from the networks in
# $admins only. HTTP stays shut from outside.
#
# Microsoft, "Installation and configuration for Windows Remote Management": a listener for HTTPS needs a certificate whose
# name is the computer's.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$certificate = New-SelfSignedCertificate -DnsName $env:COMPUTERNAME -CertStoreLocation 'Cert:\LocalMachine\My'
$listener = @{ Address = '*'; Transport = 'HTTPS' }
New-WSManInstance -ResourceURI 'winrm/config/Listener' -SelectorSet $listener -ValueSet @{
    Hostname = $env:COMPUTERNAME
    CertificateThumbprint = $certificate.Thumbprint
} | Out-Null
New-NetFirewallRule -Name 'cgw-winrm' -DisplayName 'cgw: WinRM for administrators' -Direction Inbound -Action Allow -Protocol TCP `
    -LocalPort 5986 -RemoteAddress $admins | Out-Null
