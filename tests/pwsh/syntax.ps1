# What Windows PowerShell 4 would object to in scripts, by the engine's own syntax tree. One line for each; the exit code is their
# number. tests/pwsh/checker.py looks for the same where there is no engine, and for unknown commands and parameters.
param([string[]] $Path)
$ErrorActionPreference = 'Stop'

# Tokens and nodes that came later, and cmdlets whose encoding differs between Windows PowerShell and its successor.
$tokens = 'QuestionQuestion', 'QuestionQuestionEquals', 'QuestionDot', 'QuestionLBracket', 'QuestionMark', 'AndAnd', 'OrOr'
$nodes = 'TypeDefinitionAst', 'UsingStatementAst', 'TernaryExpressionAst', 'PipelineChainAst', 'ConfigurationDefinitionAst'
$encoded = 'Get-Content', 'Set-Content', 'Add-Content', 'Out-File', 'Export-Csv', 'Import-Csv', 'Select-String', 'Export-Clixml'
# Parameters that the newest servers' pages have and those of Windows Server 2012 R2 have not.
$newer = @{ 'New-NetFirewallRule' = 'RemoteDynamicKeywordAddresses', 'PolicyAppId'; 'ForEach-Object' = , 'Parallel' }

foreach ($file in $Path) {
    $found, $errors = $null
    $tree = [Management.Automation.Language.Parser]::ParseFile((Resolve-Path $file), [ref] $found, [ref] $errors)
    $wrong = @($errors | ForEach-Object { "$($_.Extent.StartLineNumber): $($_.Message)" })
    $wrong += @($found | Where-Object { "$($_.Kind)" -in $tokens } | ForEach-Object { "$($_.Extent.StartLineNumber): $($_.Text)" })
    foreach ($node in $tree.FindAll({ $true }, $true)) {
        $line = $node.Extent.StartLineNumber
        if ($node.GetType().Name -in $nodes) { $wrong += "$line`: $($node.GetType().Name)" }
        if ($node -is [Management.Automation.Language.InvokeMemberExpressionAst] -and $node.Static -and "$($node.Member)" -eq 'new') { $wrong += "$line`: ::new()" }
        if ($node -isnot [Management.Automation.Language.CommandAst]) { continue }
        $name = $node.GetCommandName()
        $named = @($node.CommandElements | Where-Object { $_ -is [Management.Automation.Language.CommandParameterAst] } | ForEach-Object { $_.ParameterName })
        if ($name -in $encoded -and 'Encoding' -notin $named) { $wrong += "$line`: $name without -Encoding" }
        foreach ($parameter in $newer["$name"]) { if ($parameter -in $named) { $wrong += "$line`: $name -$parameter" } }
        $parts = @($node.CommandElements | Select-Object -Skip 1 | Where-Object { $_ -isnot [Management.Automation.Language.CommandParameterAst] })
        if ($name -eq 'Join-Path' -and $parts.Count -gt 2) { $wrong += "$line`: Join-Path with three parts" }
    }
    foreach ($one in $wrong) { "$(Split-Path $file -Leaf):$one"; $failures++ }
}
exit [int] $failures
