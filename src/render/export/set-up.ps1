# The first step of the exported document: brings the server to what the template declares, or with $action undo takes that
# back. Sent after lines that set $action, $stack, $connection, $region, $instance, $privateIp, $siteCidr, $cloudCidr, $ping,
# and $packed: base64 of a gzip stream of one JSON object, the files of a bundle by name, with parameters.json of an example.
# Lines that start with # and empty lines are left out when it is sent.
#
# The keys come from EC2 with the role of the instance, on every run, and go to the bootstrap's standard input. What the run
# says goes to standard output; it holds no key.
#
# INVARIANT: what holds a key is never piped, and never an argument of a cmdlet: a server can be set to log both.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
try {
    $memory = New-Object IO.MemoryStream (, [Convert]::FromBase64String($packed))
    $gzip = New-Object IO.Compression.GZipStream $memory, ([IO.Compression.CompressionMode]::Decompress)
    $files = ConvertFrom-Json -InputObject (New-Object IO.StreamReader $gzip).ReadToEnd()
    $bootstrap = [Convert]::ToBase64String([Text.Encoding]::Unicode.GetBytes($files.'bootstrap.ps1'))
    $files.PSObject.Properties.Remove('bootstrap.ps1')
    $arguments = @{ Digest = 'undo'; Start = 'undo.ps1' }
    $encoded = @{}
    $keys = $null
    if ($action -eq 'set-up') {
        $arguments = @{ Digest = 'state-manager'; Start = 'run.ps1' }
        if (-not (Get-Command Get-EC2VpnConnection -ErrorAction SilentlyContinue)) { throw 'the AWS Tools for PowerShell are not installed' }
        $found = @(Get-EC2VpnConnection -VpnConnectionId $connection -Region $region)
        if ($found.Count -ne 1 -or -not $found[0].CustomerGatewayConfiguration) { throw "EC2 does not show the configuration of $connection" }
        $document = New-Object Xml.XmlDocument
        $document.XmlResolver = $null
        $document.LoadXml($found[0].CustomerGatewayConfiguration)
        $known = @{}
        foreach ($tunnel in $document.SelectNodes('//ipsec_tunnel')) {
            $address = $tunnel.SelectSingleNode('vpn_gateway/tunnel_outside_address/ip_address').InnerText.Trim()
            $known[$address] = $tunnel.SelectSingleNode('ike/pre_shared_key').InnerText.Trim()
            if ($known[$address] -cnotmatch '^[A-Za-z1-9._][A-Za-z0-9._]{7,63}\z' -or $known[$address] -ceq 'REDACTED') { throw "EC2 keeps the key of the tunnel to $address back" }
        }
        $addresses = @($known.Keys | Sort-Object { [version] $_ })
        if ($addresses.Count -ne 2) { throw "$connection has $($addresses.Count) tunnels instead of two" }
        $values = ConvertFrom-Json -InputObject $files.'parameters.json'
        $values.connection = $connection
        if ($instance -ne 'none') { $values.instance = $instance }
        $values.privateIp = $privateIp
        $values.siteCidr = $siteCidr
        $values.cloudCidr = $cloudCidr
        $values.ping = if ($ping -ne 'none') { $ping }
        $lines = ''
        for ($n = 0; $n -lt 2; $n++) {
            $values.tunnels[$n].name = "$connection Tunnel $($n + 1)"
            $values.tunnels[$n].outsideIp = $addresses[$n]
            $lines += "$($addresses[$n]) $($known[$addresses[$n]])`n"
        }
        $keys = [Convert]::ToBase64String([Text.Encoding]::ASCII.GetBytes($lines))
        $files.'parameters.json' = ConvertTo-Json -InputObject $values -Depth 6
        foreach ($file in $files.PSObject.Properties) { $encoded[$file.Name] = [Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($file.Value)) }
    }
    $request = ConvertTo-Json -Compress -Depth 6 -InputObject @{ stack = $stack; script = 'follow.ps1'; arguments = $arguments; files = $encoded; end = 'cgw-exit' }

    $start = New-Object Diagnostics.ProcessStartInfo
    $start.FileName = 'powershell.exe'
    $start.Arguments = "-NoProfile -NonInteractive -ExecutionPolicy Bypass -EncodedCommand $bootstrap"
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $child = [Diagnostics.Process]::Start($start)
    $out = $child.StandardOutput.ReadToEndAsync()
    $err = $child.StandardError.ReadToEndAsync()
    $bytes = [Text.Encoding]::ASCII.GetBytes("$request`n$keys")
    $child.StandardInput.BaseStream.Write($bytes, 0, $bytes.Length)
    $child.StandardInput.Close()
    $child.WaitForExit()
    [Console]::Out.Write($out.Result)
    if ($out.Result -notmatch '(?m)^cgw-exit 0\r?$') { throw "the run on the server has failed: $($err.Result.Trim())" }
    # The rest of the steps can only be run after that.
    if ($out.Result.Contains('a restart must come first')) { Request-Restart }
    exit 0
} catch {
    [Console]::Error.WriteLine("cgw: $($_.Exception.Message)")
    exit 1
}
