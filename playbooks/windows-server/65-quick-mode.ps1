# Sets the quick mode (IKE phase 2) that rules without one of their own use, to a proposal of each stack, all of which encrypt.
#
# Guide, step 4, Customize IPsec Defaults, Data protection (Quick Mode), Advanced: "Require encryption for all connection
# security rules that use these settings", with one method and its lifetime. A set that has only encrypting proposals is that.
# The rules of the tunnels carry their own method as well, which while the suites of the tunnels are changed one tunnel after the
# other may be another one.
param($Parameters, [switch] $Undo)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

$name = '{E5A5D32A-4BCE-4e4d-B07F-4AB1BA7E5FE2}'
$mode = $Parameters.quickMode
# AES-GCM authenticates by itself; the cmdlet wants the matching AES-GMAC named as its hash.
$hash = $mode.espHash
if ($mode.encryption -like 'AESGCM*') { $hash = $mode.encryption.Replace('AESGCM', 'AESGMAC') }

$wanted = [ordered]@{ set = 'present'; proposals = "$($mode.encapsulation):$hash-$($mode.encryption)+$($mode.minutes)min+$($mode.kilobytes)kb" }
Complete-Step -SaveAs 'quick-mode' -Union 'proposals' -Whole -Wanted $wanted -Read {
    $set = Get-NetIPsecQuickModeCryptoSet -Name $name -PolicyStore PersistentStore -ErrorAction SilentlyContinue
    $found = foreach ($proposal in $set.Proposals) {
        $esp = Get-NamedField $proposal @('HashAlgorithmESP', 'ESPHash') $hashNames
        $cipher = Get-NamedField $proposal @('CipherAlgorithm', 'Encryption') $cipherNames
        $minutes = Get-Field $proposal @('MaxLifetimeMinutes', 'MaxMinutes')
        $kilobytes = Get-Field $proposal @('MaxLifetimeKilobytes', 'MaxKiloBytes')
        "$(Get-NamedField $proposal @('Encapsulation') $encapsulationNames):$esp-$cipher+${minutes}min+${kilobytes}kb"
    }
    [ordered]@{ set = if ($set) { 'present' } else { 'absent' }; proposals = @($found) -join ',' }
} -Set {
    if ($put.set -eq 'absent') { return Remove-NetIPsecQuickModeCryptoSet -Name $name -PolicyStore PersistentStore }
    $proposals = foreach ($proposal in $put.proposals.Split(',')) {
        if ($proposal -notmatch '^(\w+):(\w+)-(\w+)\+(\d+)min\+(\d+)kb\z') { throw "the proposal $proposal cannot be put back" }
        New-NetIPsecQuickModeCryptoProposal -Encapsulation $Matches[1] -ESPHash $Matches[2] -Encryption $Matches[3] `
            -MaxMinutes ([int] $Matches[4]) -MaxKiloBytes ([int] $Matches[5])
    }
    $these = @{ PolicyStore = 'PersistentStore'; Proposal = $proposals }
    if ($was.set -eq 'present') { Set-NetIPsecQuickModeCryptoSet -Name $name @these }
    else { New-NetIPsecQuickModeCryptoSet -Default -DisplayName 'cgw quick mode' @these }
}
