# Puts files into the folder of a stack and runs one of its scripts for a session. Sent as powershell.exe -EncodedCommand, so
# it stays tiny: lines that start with # and empty lines are left out when it is sent.
#
# Standard input is one line of JSON: {"stack": "...", "script": "...", "arguments": {...}, "files": {"<name>": "<base64>"}, "end": "..."}.
# With files there is a second line, keys.txt in base64: the parameters of a cmdlet such as ConvertFrom-Json may be logged.
# The exit code is that of the script; 3 when another run is under way; 4 when the script is not there; 1 for the rest. After
# the word of `end` it is the last line too: where PowerShell is the default shell of Windows' sshd, that shell's -Command
# makes 1 of every code but 0.
#
# With -EncodedCommand the host itself reads a redirected standard input and hands its lines over in $input, so that
# [Console]::In is empty by then. With -File it does not. Hence both, in this order.
#
# INVARIANT: the folder belongs to Administrators, and only they and SYSTEM may enter, before anything lies in it.
# Everyone may create folders under ProgramData, so one that belongs to somebody else is refused.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$code = 1
$lock = $null
try {
    $lines = @($input)
    if (-not $lines) { $lines = [Console]::In.ReadToEnd().Split("`n") }
    try { $bundle = ConvertFrom-Json -InputObject $lines[0] } catch { throw 'standard input is not a JSON document' }
    if ("$($bundle.stack)" -cnotmatch '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\z') { throw 'the name of the stack is not allowed' }
    if ("$($bundle.script)" -cnotmatch '^(follow|confirm|prove|failover)\.ps1\z') { throw 'the name of the script is not allowed' }
    $arguments = @{}
    foreach ($one in $bundle.arguments.PSObject.Properties) { $arguments[$one.Name] = $one.Value }

    $acl = New-Object Security.AccessControl.DirectorySecurity
    $acl.SetSecurityDescriptorSddlForm('O:BAG:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)')
    $root = Join-Path $env:ProgramData 'cgw'
    $folder = Join-Path $root $bundle.stack
    foreach ($path in $root, $folder) {
        $info = New-Object IO.DirectoryInfo $path
        if (-not $info.Exists) { $info.Create($acl); continue }
        if ($info.GetAccessControl().GetSecurityDescriptorSddlForm('Owner') -notin 'O:BA', 'O:SY') { throw "$path belongs to another user" }
        $info.SetAccessControl($acl)
    }

    $files = @($bundle.files.PSObject.Properties)
    if ($files) {
        try { $lock = [IO.File]::Open((Join-Path $root 'lock'), 'OpenOrCreate', 'ReadWrite', 'None') } catch { $code = 3; throw 'another run is under way' }
        foreach ($file in $files) {
            if ($file.Name -cnotmatch '^[A-Za-z0-9][A-Za-z0-9._-]*\z') { throw 'the name of a file is not allowed' }
            $path = Join-Path $folder $file.Name
            [IO.File]::WriteAllBytes("$path.new", [Convert]::FromBase64String($file.Value))
            Move-Item -LiteralPath "$path.new" -Destination $path -Force
        }
        [IO.File]::WriteAllBytes((Join-Path $folder 'keys.txt'), [Convert]::FromBase64String($lines[1]))
        $lock.Dispose()
    }
    $path = Join-Path $folder $bundle.script
    if (-not (Test-Path -LiteralPath $path)) { $code = 4; throw 'nothing is set up here' }
    & $path @arguments
    $code = $LASTEXITCODE
} catch {
    [Console]::Error.WriteLine("cgw: $($_.Exception.Message)")
    if ($lock) { $lock.Dispose() }
}
if ($bundle.end) { [Console]::Out.WriteLine("$($bundle.end) $code") }
exit $code
