# Opens a server that cgw launches to SSH, at its first start: for the key pair of its launch, from the networks in $admins only.
#
# The image of Windows Server 2025 has OpenSSH installed and off. The public key comes from the instance's metadata (EC2 user
# guide, "Instance metadata", version 2).
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
# The rule that comes with OpenSSH is open to everybody.
Remove-NetFirewallRule -Name 'OpenSSH-Server-In-TCP' -ErrorAction SilentlyContinue
New-NetFirewallRule -Name 'cgw-ssh' -DisplayName 'cgw: SSH for administrators' -Direction Inbound -Action Allow -Protocol TCP `
    -LocalPort 22 -RemoteAddress $admins | Out-Null
Set-Service -Name sshd -StartupType Automatic
# Its first start makes its folder, with the rights that it asks for; the service says that it runs a moment before.
Start-Service -Name sshd
$folder = Join-Path $env:ProgramData 'ssh'
for ($try = 0; -not (Test-Path -LiteralPath $folder) -and $try -lt 60; $try++) { Start-Sleep -Seconds 1 }
# Microsoft, "Key-based authentication in OpenSSH for Windows": administrators' keys are in one file, which only they may write.
$base = 'http://169.254.169.254/latest'
$token = Invoke-RestMethod -Method Put -Uri "$base/api/token" -Headers @{ 'X-aws-ec2-metadata-token-ttl-seconds' = '60' }
$key = Invoke-RestMethod -Uri "$base/meta-data/public-keys/0/openssh-key" -Headers @{ 'X-aws-ec2-metadata-token' = $token }
$file = Join-Path $folder 'administrators_authorized_keys'
[IO.File]::WriteAllText($file, "$("$key".Trim())`n")
$acl = New-Object Security.AccessControl.FileSecurity
$acl.SetSecurityDescriptorSddlForm('O:BAG:BAD:P(A;;FA;;;SY)(A;;FA;;;BA)')
Set-Acl -LiteralPath $file -AclObject $acl
