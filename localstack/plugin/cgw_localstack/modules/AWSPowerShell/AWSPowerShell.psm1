# Stands in for the AWS Tools for PowerShell, which every Windows AMI of AWS's has: it asks the LocalStack that runs it.
function Get-SSMParameter {
    param([Parameter(Mandatory)][string]$Name, [bool]$WithDecryption, [Parameter(Mandatory)][string]$Region)
    $request = @{
        Uri = $env:CGW_LS_URL
        Method = 'Post'
        ContentType = 'application/x-amz-json-1.1'
        Headers = @{
            'X-Amz-Target' = 'AmazonSSM.GetParameter'
            Authorization = "AWS4-HMAC-SHA256 Credential=$env:CGW_LS_ACCOUNT/20250101/$Region/ssm/aws4_request, SignedHeaders=host, Signature=0"
        }
        Body = ConvertTo-Json @{ Name = $Name; WithDecryption = $WithDecryption }
        SkipHeaderValidation = $true
        SkipHttpErrorCheck = $true
    }
    $reply = Invoke-WebRequest @request
    $content = ConvertFrom-Json ([Text.Encoding]::UTF8.GetString($reply.RawContentStream.ToArray()))
    if ($reply.StatusCode -ne 200) { throw "$($content.__type): $($content.message)" }
    $content.Parameter
}
