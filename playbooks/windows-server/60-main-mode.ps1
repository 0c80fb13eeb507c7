# Sets the main mode (IKE phase 1) that rules without one of their own use: suites in order, lifetime, Diffie-Hellman always.
#
# Guide, step 4, IPsec Settings, Customize IPsec Defaults, Key exchange (Main Mode), Advanced: security methods, key lifetimes
# 480 minutes and 0 sessions, "Use Diffie-Hellman for enhanced security".
# It is one set of the whole server, under a fixed name (Microsoft, "New-NetIPsecMainModeCryptoSet", -Default). The first step
# refuses a stack that wants another one than a stack that is there.
param($Parameters, [switch] $Undo)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

$name = '{E5A5D32A-4BCE-4e4d-B07F-4AB1BA7E5FE1}'
Complete-Step -SaveAs 'main-mode' -Whole -Wanted (Get-MainMode $Parameters) -Read {
    $set = Get-NetIPsecMainModeCryptoSet -Name $name -PolicyStore PersistentStore -ErrorAction SilentlyContinue
    $found = foreach ($proposal in $set.Proposals) {
        $group = Get-NamedField $proposal @('GroupId', 'KeyExchange') $groupNames
        $cipher = Get-NamedField $proposal @('CipherAlgorithm', 'Encryption') $cipherNames
        $hash = Get-NamedField $proposal @('HashAlgorithm', 'Hash') $hashNames
        "$group-$cipher-$hash"
    }
    [ordered]@{
        set = if ($set) { 'present' } else { 'absent' }
        suites = @($found) -join ','
        minutes = Get-Field $set @('MaxLifetimeMinutes', 'MaxMinutes')
        sessions = Get-Field $set @('MaxLifetimeSessions', 'MaxSessions')
        forceDiffieHellman = Get-Field $set @('ForceDiffieHellman')
    }
} -Set {
    if ($put.set -eq 'absent') { return Remove-NetIPsecMainModeCryptoSet -Name $name -PolicyStore PersistentStore }
    $these = @{ PolicyStore = 'PersistentStore' }
    if ($put.suites) {
        $these['Proposal'] = foreach ($suite in $put.suites.Split(',')) {
            $group, $cipher, $hash = $suite.Split('-')
            New-NetIPsecMainModeCryptoProposal -KeyExchange $group -Encryption $cipher -Hash $hash
        }
    }
    if ($put.minutes) { $these['MaxMinutes'] = [int] $put.minutes }
    if ($put.sessions) { $these['MaxSessions'] = [int] $put.sessions }
    if ($put.forceDiffieHellman) { $these['ForceDiffieHellman'] = $put.forceDiffieHellman -eq 'True' }
    if ($was.set -eq 'present') { Set-NetIPsecMainModeCryptoSet -Name $name @these }
    else { New-NetIPsecMainModeCryptoSet -Default -DisplayName 'cgw main mode' @these }
}
