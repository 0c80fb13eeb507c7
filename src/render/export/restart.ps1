# What both steps of the exported document share. A step that leaves with 3010 has the agent restart the server and run the step
# again (Systems Manager user guide, "Handling reboots when running commands"); a server that asks for it without end is left alone.
$folder = Join-Path (Join-Path $env:ProgramData 'cgw') $stack
$restarts = Join-Path $folder 'restarts.txt'
function Request-Restart {
    $count = if ([IO.File]::Exists($restarts)) { [int] [IO.File]::ReadAllText($restarts) } else { 0 }
    if ($count -ge 3) { [IO.File]::Delete($restarts); throw "the server has restarted $count times, and a step asks for it again" }
    [IO.File]::WriteAllText($restarts, "$($count + 1)")
    exit 3010
}
