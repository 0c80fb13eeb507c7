# Switches off the rules of others that lead to the addresses of these tunnels, or the same networks through another one, if that
# was allowed: two rules would match the same traffic. They are not deleted, and an undo switches them on again.
#
# Beyond the guide, which begins with a server that has none. Without the consent the first step refuses.
param($Parameters, [switch] $Undo)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

# What is switched off stays known, whatever addresses the tunnels have by now. A rule that carries more than this traffic is for a
# person to judge: the first step refuses it.
function Get-KnownRule {
    foreach ($one in Get-ForeignRule) { if (-not $one.isBeyond -and -not $one.stack) { $one.rule } }
    foreach ($name in (Get-Saved 'foreign-rules').Keys) { Get-NetIPsecRule -Name $name -PolicyStore PersistentStore -ErrorAction SilentlyContinue }
}

Complete-Step -SaveAs 'foreign-rules' -Wanted $(
    $off = [ordered]@{}
    if ($Parameters.replaceRules) { foreach ($one in Get-ForeignRule) { if (-not $one.isBeyond -and -not $one.stack) { $off["$($one.rule.Name)"] = 'False' } } }
    $off
) -Read {
    $is = [ordered]@{}
    foreach ($rule in Get-KnownRule) { $is["$($rule.Name)"] = "$(Test-Enabled $rule)" }
    $is
} -Set {
    foreach ($name in $put.Keys) {
        if ($put[$name] -eq 'True') { Enable-NetIPsecRule -Name $name -PolicyStore PersistentStore }
        else { Disable-NetIPsecRule -Name $name -PolicyStore PersistentStore }
    }
}
