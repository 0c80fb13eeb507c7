# One process of the modelled server: what powershell.exe is called with is run here, with Windows' commands standing in.
$ErrorActionPreference = 'Stop'
Import-Module (Join-Path $PSScriptRoot 'Server.psm1') -DisableNameChecking
$state = $env:CGW_WINDOWS_STATE
Install-Stand (Join-Path $PSScriptRoot '../data/windows-commands.json') (Join-Path $state 'commands.ps1')
$env:ProgramData = Join-Path $state 'ProgramData'
[void] [IO.Directory]::CreateDirectory($env:ProgramData)
Open-Server $state $env:CGW_WINDOWS_ADDRESS
$words = [Collections.Generic.List[string]] $args
foreach ($flag in '-NoProfile', '-NonInteractive') { [void] $words.Remove($flag) }
if ($words[0] -eq '-ExecutionPolicy') { $words.RemoveRange(0, 2) }
$how = $words[0]
$what = $words[1]
if ($how -eq '-EncodedCommand') {
    Enter-Server
    Complete-Restart
    # cmd.exe passes no longer line on.
    if ($what.Length -gt 8000) { throw 'the command line is too long' }
    & ([scriptblock]::Create([Text.Encoding]::Unicode.GetString([Convert]::FromBase64String($what))))
    exit $LASTEXITCODE
}
if ($how -ne '-File') { throw "called with $how" }
$named = @{}
for ($n = 2; $n -lt $words.Count; $n++) {
    $key = $words[$n].TrimStart('-')
    if ($n + 1 -lt $words.Count -and -not $words[$n + 1].StartsWith('-')) { $named[$key] = $words[++$n] } else { $named[$key] = $true }
}
& $what @named
exit $LASTEXITCODE
