# Run over a new connection, this says that the server can still be reached: the guard is disarmed. It prints one line,
# cgw-state {"boot", "reboot", "routing", "rules", "guard"}, with "guard" as it was found; exit code 0.
#
# Once the guard has put the firewall back nothing is confirmed, and no restart ordered.
#
# -Restart  the server restarts in a few seconds. The guard is armed for after that, so run this once more then: within 15
#           minutes of the start, else it takes the rules of the tunnels back; if no restart comes, after an hour
# -At       the server restarts at that time of its own clock (HH:MM); nobody may be there then, so the guard is off
# -After    the boot that was before the restart: as long as it is still that one nothing is confirmed
param([switch] $Restart, [string] $At, [long] $After = 0)
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
. (Join-Path $PSScriptRoot 'common.ps1')
. (Join-Path $PSScriptRoot 'tasks.ps1')

function Request-Restart([int] $Seconds) {
    & shutdown.exe /r /t $Seconds /d p:2:4 /c 'cgw: settings of the VPN gateway need a restart' | Out-Null
    # 1115 and 1190: a restart is under way, or already ordered.
    if ($LASTEXITCODE -notin 0, 1115, 1190) { throw "shutdown.exe gave exit code $LASTEXITCODE" }
}

try {
    if ($At -and $At -notmatch '^([01]\d|2[0-3]):[0-5]\d\z') { throw "$At is no time of the day, HH:MM" }
    $found = Get-GuardState
    $settings = Join-Path $PSScriptRoot 'parameters.json'
    $isSetUp = Test-Path -LiteralPath $settings
    $isNew = -not ($After -and (Test-SameBoot $After (Get-BootSecond)))
    if ($isSetUp) { $stack = (Read-Json $settings).stack }
    # The guard is armed before the restart is ordered; one that has come already has the say.
    if ($isSetUp -and $Restart -and $found -ne 'restored') {
        New-PrivateFolder (Get-GuardFolder)
        Register-Guard $stack @((New-ScheduledTaskTrigger -Once -At ((Get-Date).AddMinutes(60))), (New-StartTrigger 'PT15M'))
        if ((Get-GuardState) -ne 'restored') { Request-Restart 5 } else { $found = 'restored' }
    } elseif ($isSetUp -and $isNew -and $found -ne 'restored') {
        if (-not (Exit-Guard $stack)) { $found = 'restored' }
    }
    if ($isSetUp -and $At -and $found -ne 'restored') {
        $moment = [datetime]::ParseExact($At, 'HH:mm', [Globalization.CultureInfo]::InvariantCulture)
        $wait = ($moment - (Get-Date)).TotalSeconds
        if ($wait -lt 0) { $wait += 86400 }
        Request-Restart ([int] $wait)
    }
    Write-State $found
    exit 0
} catch {
    [Console]::Error.WriteLine("cgw: $($_.Exception.Message)")
    exit 1
}
