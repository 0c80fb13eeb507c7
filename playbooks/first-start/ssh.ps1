# Opens a server that cgw launches to SSH, at its first start: for the key pair of its launch, from the networks in $admins only.
#
# AWS's images of Windows Server 2025 have OpenSSH installed and off; older ones get it as a feature on demand. The public key
# comes from the instance's metadata (EC2 user guide, "Instance metadata", version 2).
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
if (-not (Get-Service -Name sshd -ErrorAction SilentlyContinue)) {
    Add-WindowsCapability -Online -Name 'OpenSSH.Server~~~~0.0.1.0' | Out-Null
}
# Microsoft, "Key-based authentication in OpenSSH for Windows": administrators' keys are in one file, which only they may write.
$base = 'http://169.254.169.254/latest'
$token = Invoke-RestMethod -Method Put -Uri "$base/api/token" -Headers @{ 'X-aws-ec2-metadata-token-ttl-seconds' = '60' }
$key = Invoke-RestMethod -Uri "$base/meta-data/public-keys/0/openssh-key" -Headers @{ 'X-aws-ec2-metadata-token' = $token }
$folder = Join-Path $env:ProgramData 'ssh'
[void] [IO.Directory]::CreateDirectory($folder)
$file = Join-Path $folder 'administrators_authorized_keys'
[IO.File]::WriteAllText($file, "$("$key".Trim())`n")
$acl = New-Object Security.AccessControl.FileSecurity
$acl.SetSecurityDescriptorSddlForm('O:BAG:BAD:P(A;;FA;;;SY)(A;;FA;;;BA)')
Set-Acl -LiteralPath $file -AclObject $acl
# The rule that comes with the feature is open to everybody.
Remove-NetFirewallRule -Name 'OpenSSH-Server-In-TCP' -ErrorAction SilentlyContinue
New-NetFirewallRule -Name 'cgw-ssh' -DisplayName 'cgw: SSH for administrators' -Direction Inbound -Action Allow -Protocol TCP `
    -LocalPort 22 -RemoteAddress $admins | Out-Null
Set-Service -Name sshd -StartupType Automatic
Start-Service -Name sshd
