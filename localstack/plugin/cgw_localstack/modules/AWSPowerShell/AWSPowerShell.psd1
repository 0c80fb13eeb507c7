@{
    RootModule = 'AWSPowerShell.psm1'
    ModuleVersion = '1.0'
    FunctionsToExport = 'Get-SSMParameter'
    CmdletsToExport = @()
    AliasesToExport = @()
}
