# What the mail program of an Android phone without extras can enforce (read in the AOSP client).
# yes: it can; no: it cannot; a number: the strictest value that it can keep. What is not named
# here, it can keep. A feature that the device does not have at all counts as kept.

# The lock screen
MinDevicePasswordLength = 16
MaxDevicePasswordFailedAttempts = 4
AllowSimpleDevicePassword = yes
PasswordRecoveryEnabled = yes

# The device
RequireDeviceEncryption = yes
RequireStorageCardEncryption = no
AllowCamera = yes
AllowStorageCard = no
AllowUnsignedApplications = no
AllowUnsignedInstallationPackages = no
AllowWiFi = no
AllowTextMessaging = no
AllowIrDA = no
AllowBluetooth = no
AllowBrowser = no
AllowInternetSharing = no
UnapprovedInROMApplicationList = no
ApprovedApplicationList = no

# Mail
AllowPOPIMAPEmail = no
AllowConsumerEmail = no
AllowHTMLEmail = no
MaxEmailBodyTruncationSize = no
MaxEmailHTMLBodyTruncationSize = no
RequireSignedSMIMEMessages = no
RequireEncryptedSMIMEMessages = no
RequireSignedSMIMEAlgorithm = no
RequireEncryptionSMIMEAlgorithm = no
