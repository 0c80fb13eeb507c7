# Sets the main mode (IKE phase 1) that rules without one of their own use: suites in order, lifetime, Diffie-Hellman always.
#
# Guide, step 4, IPsec Settings, Customize IPsec Defaults, Key exchange (Main Mode), Advanced: security methods, key lifetimes
# 480 minutes and 0 sessions, "Use Diffie-Hellman for enhanced security".
# It is one set of the whole server, under a fixed name (Microsoft, "New-NetIPsecMainModeCryptoSet", -Default), so it offers what any
# of the stacks there wants; AWS takes of it what the stack's own connection is set to.
param($Parameters, [switch] $Undo)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

$name = '{E5A5D32A-4BCE-4e4d-B07F-4AB1BA7E5FE1}'
$mode = $Parameters.mainMode
$suites = @($mode.suites | ForEach-Object { "$($_.keyExchange)-$($_.encryption)-$($_.hash)" }) -join ','
$wanted = [ordered]@{ set = 'present'; suites = $suites; minutes = "$($mode.minutes)"; sessions = "$($mode.sessions)"; forceDiffieHellman = 'True' }
Complete-Step -SaveAs 'main-mode' -Union 'suites' -Whole -Wanted $wanted -Read {
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
