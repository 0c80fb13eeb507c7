# Runs one command line on the server under Systems Manager's Run Command. Sent as the document's script, after lines that
# set $id, $region, $parameter, $parts and $sealed; lines that start with # and empty lines are left out.
#
# $sealed, after the $parts that ssm-part.ps1 has left, is base64 of initialisation vector (16 bytes), AES-256-CBC of a gzip stream, HMAC-SHA256 of both (32 bytes). In the
# stream are the command line, a line feed, and its standard input. The keys, 32 bytes each, are in the parameter.
#
# The exit code here is 0 or 1: an agent takes 3010 for a wish to restart and to run all of this again. The command's own
# code stands in the last line, without which nobody can tell a whole output from one that was cut.
#
# INVARIANT: what was read or decrypted is never piped, and never an argument of a cmdlet: a server can be set to log both.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$child = $null
$files = @()
try {
    for ($n = 0; $n -lt $parts; $n++) { $files += Join-Path ([IO.Path]::GetTempPath()) "cgw-$id-$n" }
    $sealed = @(foreach ($file in $files) { [IO.File]::ReadAllText($file) }) + $sealed -join ''
    if (-not (Get-Command Get-SSMParameter -ErrorAction SilentlyContinue)) { throw 'the AWS Tools for PowerShell are not installed' }
    $keys = [Convert]::FromBase64String((Get-SSMParameter -Name $parameter -WithDecryption $true -Region $region).Value)
    $bytes = [Convert]::FromBase64String($sealed)
    $end = $bytes.Length - 32

    $hmac = New-Object Security.Cryptography.HMACSHA256
    $hmac.Key = [byte[]]$keys[32..63]
    $mac = $hmac.ComputeHash($bytes, 0, $end)
    if ([BitConverter]::ToString($mac) -cne [BitConverter]::ToString($bytes, $end)) { throw 'the command was changed on its way' }
    $aes = [Security.Cryptography.Aes]::Create()
    $aes.Key = [byte[]]$keys[0..31]
    $aes.IV = [byte[]]$bytes[0..15]
    $packed = $aes.CreateDecryptor().TransformFinalBlock($bytes, 16, $end - 16)

    $memory = New-Object IO.MemoryStream
    $memory.Write($packed, 0, $packed.Length)
    $memory.Position = 0
    $gzip = New-Object IO.Compression.GZipStream $memory, ([IO.Compression.CompressionMode]::Decompress)
    $open = New-Object IO.MemoryStream
    $gzip.CopyTo($open)
    $bytes = $open.ToArray()
    $end = [Array]::IndexOf($bytes, [byte]10)

    $start = New-Object Diagnostics.ProcessStartInfo
    $start.FileName, $start.Arguments = [Text.Encoding]::UTF8.GetString($bytes, 0, $end) -split ' ', 2
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $child = [Diagnostics.Process]::Start($start)
    $out = New-Object IO.MemoryStream
    $err = New-Object IO.MemoryStream
    $reading = @($child.StandardOutput.BaseStream.CopyToAsync($out), $child.StandardError.BaseStream.CopyToAsync($err))
    # A command need not read what it is given.
    try { $child.StandardInput.BaseStream.Write($bytes, $end + 1, $bytes.Length - $end - 1) } catch [IO.IOException] { }
    try { $child.StandardInput.Close() } catch [IO.IOException] { }
    [Threading.Tasks.Task]::WaitAll([Threading.Tasks.Task[]]$reading)
    $child.WaitForExit()

    # Systems Manager keeps the first 8,000 characters, and the last ones are what tells why.
    $tail = [Math]::Min($err.Length, 7500)
    $stderr = [Console]::OpenStandardError()
    $stderr.Write($err.ToArray(), $err.Length - $tail, $tail)
    $stderr.Flush()
    $last = [Text.Encoding]::ASCII.GetBytes("`ncgw-exit $id $($child.ExitCode)`n")
    $out.Write($last, 0, $last.Length)
    $stdout = [Console]::OpenStandardOutput()
    $out.WriteTo($stdout)
    $stdout.Flush()
    exit 0
} catch {
    $when = if ($child) { 'cgw-failed' } else { 'cgw-not-started' }
    [Console]::Error.WriteLine("$when $($_.Exception.Message)")
    exit 1
} finally {
    foreach ($file in $files) { [IO.File]::Delete($file) }
}
