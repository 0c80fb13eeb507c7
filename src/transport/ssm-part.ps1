# Leaves one part of what is too long for one command on the server, for ssm.ps1 to read and delete. Sent as that one is,
# after lines that set $id, $part and $sealed. What it leaves is encrypted, and a change of it is noticed.
$ErrorActionPreference = 'Stop'
try {
    [IO.File]::WriteAllText((Join-Path ([IO.Path]::GetTempPath()) "cgw-$id-$part"), $sealed)
    [Console]::Out.Write("cgw-exit $id 0`n")
    exit 0
} catch {
    [Console]::Error.WriteLine("cgw-not-started $($_.Exception.Message)")
    exit 1
}
